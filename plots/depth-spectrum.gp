# ---- singular values of the accumulated shortcut by depth ------------------------------------------------------------------------------
# data: depth, then 5th percentile, median, 95th percentile of the largest and of the smallest singular value, and of the mean square
bottom = low(0,5)
top = most(1,highest(0,0,2,7))
set xrange [0.4:sublayers+0.6]
first_tick = layer_step(sublayers) > 1 ? 0 : 1
set xtics first_tick,layer_step(sublayers)
if (bottom > tiny && bottom < 0.05*top) { eval log_axis } else { @sizes }
@xtitle 'sublayers accumulated' @xplace
@ytitle 'singular value' @yplace
k = 0; n = 1; strip = legend_cm(1)
@panel
eval entry(0, 3, 0, 'largest', 'pt 4 ps 0.45', 'lw 1.2 dt 2', orange)
eval entry(1, 3, 0, 'rms', 'pt 9 ps 0.5', 'lw 1.1', ink)
eval entry(2, 3, 0, 'smallest', 'pt 7 ps 0.45', 'lw 1.2', blue)
set style fill transparent solid 0.25 noborder
plot data using 1:2:4 with filledcurves lc rgb orange, \
     data using 1:(sqrt($8)):(sqrt($10)) with filledcurves lc rgb pale, \
     data using 1:5:7 with filledcurves lc rgb blue, \
     data using 1:3 with linespoints pt 4 ps 0.45 lw 1.2 dt 2 lc rgb orange, \
     data using 1:(sqrt($9)) with linespoints pt 9 ps 0.5 lw 1.1 lc rgb ink, \
     data using 1:6 with linespoints pt 7 ps 0.45 lw 1.2 lc rgb blue
unset output
