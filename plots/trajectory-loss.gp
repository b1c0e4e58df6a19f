# ---- loss along a run --------------------------------------------------------------------------------------------------------------------
# data: step, loss, difference from the first, interval from, to
@xtitle x_name @xplace
@ytitle 'loss (nats)' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.955
set bmargin at screen 0.17
set tmargin at screen 0.96
set offsets graph 0.03, graph 0.03, 0, 0
stats data index 0 using 1 nooutput
if (STATS_max > STATS_min) set xtics tick_step(STATS_max-STATS_min,5)
unset key
plot data using 1:($2-$3+$4):(0):($5-$4) with vectors nohead lw 1.4 lc rgb blue, \
     data using 1:2 with linespoints pt 7 ps 0.5 lw 1.2 lc rgb blue
unset output
