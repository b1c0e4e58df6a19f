# ---- final loss of every seed --------------------------------------------------------------------------------------------------------
# data: number of the variant, mean, interval from, to; then a block a seed: number of the variant, loss
bottom = least(lowest(0,0,2,4),seeds > 0 ? lowest(1,seeds,2,2) : NaN)
top = most(highest(0,0,2,4),seeds > 0 ? highest(1,seeds,2,2) : NaN)
set yrange [axis_low(bottom,top):axis_high(bottom,top)]
set xrange [0.5:variants+0.5]
set xtics 1,layer_step(variants)
rows = (variants+1)/2
k = 0; n = 1; strip = legend_cm(rows)
@panel
@xtitle 'variant' @xplace
@ytitle 'final validation loss (nats)' @yplace
do for [i = 0:variants-1] { eval entry(i, 2, 0, sprintf('%d  %s',i+1,word(names,i+1)), '', '', ink) }
plot for [s = 1:seeds] data index s using 1:2 with linespoints pt 7 ps 0.3 lw 0.4 lc rgb sky, \
     data index 0 using ($1+0.12):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb ink, \
     data index 0 using ($1+0.12):2 with points pt 5 ps 0.5 lc rgb ink
unset output
