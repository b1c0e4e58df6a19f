# ---- what the gates are worth when they are forced shut from one end ------------------------------------------------------------------
# data: blocks 0 (from this sublayer on), 1 (up to it): sublayer, change of loss, interval from, to
set xrange [-0.6:sublayers-0.4]
set yrange [*<0:0<*]
set xtics 0,layer_step(sublayers)
@xtitle 'sublayer' @xplace
@ytitle 'change of loss (nats)' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.17
set tmargin at screen 0.88
set key at screen 0.985,screen 0.975 right top Left reverse horizontal maxrows 1 width -3 samplen 1.2
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using 1:3:(0):($4-$3) with vectors nohead lw 1.2 lc rgb blue notitle, \
     data index 1 using 1:3:(0):($4-$3) with vectors nohead lw 1.2 lc rgb orange notitle, \
     data index 0 using 1:2 with linespoints pt 7 ps 0.5 lw 1.1 lc rgb blue title 'closed from here on', \
     data index 1 using 1:2 with linespoints pt 4 ps 0.5 lw 1.1 dt 2 lc rgb orange title 'closed up to here'
unset output
