# ---- validation loss of several variants, each with several seeds ------------------------------------------------------------------
# data: a block a variant: x, mean, interval from, to; then a block a seed: x, loss
bottom = lowest(0,variants-1,2,2)
top = early == early ? early : highest(0,variants-1,2,2)
set yrange [axis_low(bottom,top):axis_high(bottom,top)]
left = lowest(0,variants-1,1,1)
right = highest(0,variants-1,1,1)
if (left == left) { set xrange [axis_low(left,right):axis_high(left,right)]; set xtics tick_step(span(left,right),5) } else { set xrange [0:1] }
set format x '%.1s%c'
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
dashes = descriptive ? '2 3 4 5 2 3' : '1 2 4 5 3 6'
hue(i) = word(colours,i%6+1)
dash(i) = int(word(dashes,i%6+1))
n = (variants+5)/6
in_panel(k) = variants-6*k < 6 ? variants-6*k : 6
rows = (in_panel(0)+1)/2
strip = legend_cm(rows)
between_cm = 0.75+line_cm*rows
# Seeds lie one after another: how many before variant i, and whose number b is.
seeds_before(i) = i == 0 ? 0 : int(word(seeds,i))+seeds_before(i-1)
owner(b,i) = i+1 >= variants || b < seeds_before(i+1) ? i : owner(b,i+1)
set style fill transparent solid 0.2 noborder
set multiplot
do for [k = 0:n-1] {
    unset label
    unset arrow
    @panel
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle 'validation loss (nats)' @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    first = 6*k
    last = first+in_panel(k)-1
    do for [i = first:last] { eval entry(i-first, 2, down, word(names,i+1), '', sprintf('lw 1.6 dt %d',dash(i)), hue(i)) }
    plot for [i = first:last] data index i using 1:3:4 with filledcurves lc rgb hue(i), \
         for [b = seeds_before(first):seeds_before(last+1)-1] data index variants+b using 1:2 with lines lw 0.3 lc rgb hue(owner(b,0)), \
         for [i = first:last] data index i using 1:2 with lines lw 1.6 dt dash(i) lc rgb hue(i)
}
unset multiplot
unset output
