# ---- differences along training, seed by seed: a panel a contrast ------------------------------------------------------------------------
# data: a block a contrast: tokens, mean difference, interval from, to
# The start, where runs differ most, would press the rest together: the axis is made for the second half.
milli = 1000.0
bottom = milli*least(0,late_low)
top = milli*most(0,late_high)
@changes
left = lowest(0,contrasts-1,1,1)
right = highest(0,contrasts-1,1,1)
if (left == left) { set xrange [axis_low(left,right):axis_high(left,right)]; set xtics tick_step(span(left,right),5) } else { set xrange [0:1] }
set ytics tick_step(span(bottom,top),4)
set xzeroaxis lt 1 lw 0.8 lc rgb ink
minus = tex ? ' - ' : ' − '
n = contrasts
strip = 0.9
set style fill transparent solid 0.25 noborder
set multiplot
do for [k = 0:n-1] {
    unset label
    @panel
    if (k == n-1) { set format x '%.1s%c' } else { set format x '' }
    if (k == n-1) { @xtitle 'tokens' @xplace }
    if (k == 0) { set label 1 'difference of loss (0.001 nats)' at screen 0.25/width_cm,screen 1-0.22/height_cm left tc rgb ink }
    set label 2 word(names_a,k+1).minus.word(names_b,k+1) at graph 0.02,graph 1 left offset 0,character 0.45 noenhanced tc rgb ink
    plot data index k using 1:(milli*$3):(milli*$4) with filledcurves lc rgb blue, \
         data index k using 1:(milli*$2) with lines lw 1.4 lc rgb blue
}
unset multiplot
unset output
