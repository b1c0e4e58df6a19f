# ---- what the gates are worth when they are forced shut from one end ----------------------------------------------------------------
# data: blocks 0 (from this sublayer on), 1 (up to it): sublayer, change of loss, interval from, to
bottom = least(0,lowest(0,1,2,4))
top = most(0,highest(0,1,2,4))
set xrange [-0.6:sublayers-0.4]
@changes
set xtics 0,layer_step(sublayers)
@xtitle 'sublayer' @xplace
@ytitle 'change of loss (nats)' @yplace
k = 0; n = 1; strip = legend_cm(1)
@panel
eval entry(0, 2, 0, 'closed from here on', 'pt 7 ps 0.5', 'lw 1.1', blue)
eval entry(1, 2, 0, 'closed up to here', 'pt 4 ps 0.5', 'lw 1.1 dt 2', orange)
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using 1:3:(0):($4-$3) with vectors nohead lw 1.2 lc rgb blue, \
     data index 1 using 1:3:(0):($4-$3) with vectors nohead lw 1.2 lc rgb orange, \
     data index 0 using 1:2 with linespoints pt 7 ps 0.5 lw 1.1 lc rgb blue, \
     data index 1 using 1:2 with linespoints pt 4 ps 0.5 lw 1.1 dt 2 lc rgb orange
unset output
