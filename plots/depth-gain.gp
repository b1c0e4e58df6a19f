# ---- gain of the accumulated shortcut by depth -----------------------------------------------------------------------------------------
# data: depth; 5th percentile, mean, 95th percentile of the row gain and of the column gain; mean spectral norm
set xrange [0.4:sublayers+0.6]
first_tick = layer_step(sublayers) > 1 ? 0 : 1
set xtics first_tick,layer_step(sublayers)
set yrange [0:*]
@xtitle 'sublayers accumulated' @xplace
@ytitle 'gain' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.17
set tmargin at screen 0.83
set key at screen 0.985,screen 0.985 right top Left reverse vertical maxrows 2 width -2
set style fill transparent solid 0.25 noborder
plot data using 1:2:4 with filledcurves lc rgb blue notitle, \
     data using 1:5:7 with filledcurves lc rgb orange notitle, \
     data using 1:3 with linespoints pt 7 ps 0.45 lw 1.2 lc rgb blue title 'row (forward)', \
     data using 1:6 with linespoints pt 4 ps 0.45 lw 1.2 dt 2 lc rgb orange title 'column (backward)', \
     data using 1:8 with lines lw 1.1 lc rgb ink title 'spectral norm'
unset output
