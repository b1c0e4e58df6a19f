# ---- gain of the accumulated shortcut by depth -----------------------------------------------------------------------------------------
# data: depth; 5th percentile, mean, 95th percentile of the row gain and of the column gain; mean spectral norm
top = most(0,highest(0,0,2,8))
set xrange [0.4:sublayers+0.6]
first_tick = layer_step(sublayers) > 1 ? 0 : 1
set xtics first_tick,layer_step(sublayers)
@sizes
@xtitle 'sublayers accumulated' @xplace
@ytitle 'gain' @yplace
k = 0; n = 1; strip = legend_cm(2)
@panel
eval entry(0, 2, 0, 'row (forward)', 'pt 7 ps 0.45', 'lw 1.2', blue)
eval entry(1, 2, 0, 'spectral norm', '', 'lw 1.1', ink)
eval entry(2, 2, 0, 'column (backward)', 'pt 4 ps 0.45', 'lw 1.2 dt 2', orange)
set style fill transparent solid 0.25 noborder
plot data using 1:2:4 with filledcurves lc rgb blue, \
     data using 1:5:7 with filledcurves lc rgb orange, \
     data using 1:3 with linespoints pt 7 ps 0.45 lw 1.2 lc rgb blue, \
     data using 1:6 with linespoints pt 4 ps 0.45 lw 1.2 dt 2 lc rgb orange, \
     data using 1:8 with lines lw 1.1 lc rgb ink
unset output
