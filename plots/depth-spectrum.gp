# ---- singular values of the accumulated shortcut by depth ------------------------------------------------------------------------------
# data: depth, then 5th percentile, median, 95th percentile of the largest and of the smallest singular value, and of the mean square
set xrange [0.4:sublayers+0.6]
first_tick = layer_step(sublayers) > 1 ? 0 : 1
set xtics first_tick,layer_step(sublayers)
stats data using 5 name 'A' nooutput
if (A_min > 0 && A_min < 0.05) { set logscale y; set yrange [A_min/2:*]; set format y (A_min > 0.002 ? '%g' : power) } else { set yrange [0:1.1<*] }
@xtitle 'sublayers accumulated' @xplace
@ytitle 'singular value' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.15
set tmargin at screen 0.88
set key at screen 0.985,screen 0.98 right top Left reverse horizontal maxrows 1
set style fill transparent solid 0.25 noborder
plot data using 1:2:4 with filledcurves lc rgb orange notitle, \
     data using 1:(sqrt($8)):(sqrt($10)) with filledcurves lc rgb pale notitle, \
     data using 1:5:7 with filledcurves lc rgb blue notitle, \
     data using 1:3 with linespoints pt 4 ps 0.45 lw 1.2 dt 2 lc rgb orange title 'largest', \
     data using 1:(sqrt($9)) with linespoints pt 9 ps 0.5 lw 1.1 lc rgb ink title 'rms', \
     data using 1:6 with linespoints pt 7 ps 0.45 lw 1.2 lc rgb blue title 'smallest'
unset output
