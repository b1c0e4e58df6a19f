# ---- contrasts of seeds -------------------------------------------------------------------------------------------------------------
# data: difference, 95% interval from, to, 90% interval from, to, margin; one row a contrast
margin = high(0,6) == high(0,6) ? abs(high(0,6)) : 0
left = least(-margin,lowest(0,0,1,5))
right = most(margin,highest(0,0,1,5))
left = least(0,left); right = most(0,right)
set lmargin at screen 0.3/width_cm
strip = 0.55
k = 0; n = 1
@panel
set xrange [axis_low(left,right):axis_high(left,right)]
set xtics tick_step(span(left,right),5)
set yrange [rows-0.5:-0.5]
unset ytics
unset grid
set grid x lc rgb faint lw 0.4 lt 1
@xtitle 'difference of loss (nats), lower is better' @xplace
if (margin > 0) { set object 1 rectangle from first -margin, graph 0 to first margin, graph 1 behind fc rgb pale fs solid noborder }
set arrow 1 from first 0, graph 0 to first 0, graph 1 nohead lw 0.8 lc rgb ink
eval entry(0, 3, 0, '95'.percent, 'pt 7 ps 0.5', 'lw 1.2', ink)
eval entry(1, 3, 0, '90'.percent, '', 'lw 3.5', ink)
eval entry(2, 3, 0, 'margin', 'pt 5 ps 1', '', faint)
minus = tex ? ' - ' : ' − '
hue(word) = word eq 'better' ? blue : word eq 'worse' ? orange : word eq 'equivalent' ? green : ink
do for [i = 0:rows-1] {
    set label 300+2*i word(names_a,i+1).minus.word(names_b,i+1) at graph 0.01, first i-0.3 left noenhanced tc rgb ink front
    set label 301+2*i word(verdicts,i+1) at graph 0.99, first i-0.3 right noenhanced tc rgb hue(word(verdicts,i+1)) front
}
plot for [i = 0:rows-1] data every ::i::i using 2:(i+0.15):($3-$2):(0) with vectors nohead lw 1.2 lc rgb hue(word(verdicts,i+1)), \
     for [i = 0:rows-1] data every ::i::i using 4:(i+0.15):($5-$4):(0) with vectors nohead lw 3.5 lc rgb hue(word(verdicts,i+1)), \
     for [i = 0:rows-1] data every ::i::i using 1:(i+0.15) with points pt 7 ps 0.6 lc rgb hue(word(verdicts,i+1))
unset output
