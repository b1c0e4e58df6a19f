# ---- mean gates along a run ------------------------------------------------------------------------------------------------------------
# data: a block a sublayer: step, mean gate
@xtitle x_name @xplace
@ytitle 'gate '.beta @yplace
set lmargin at screen 0.155
set rmargin at screen 0.955
set bmargin at screen 0.17
set tmargin at screen 0.87
set offsets graph 0.03, graph 0.03, 0, 0
stats data index 0 using 1 nooutput
if (STATS_max > STATS_min) set xtics tick_step(STATS_max-STATS_min,5)
set key at screen 0.955,screen 0.985 right top Left reverse horizontal maxrows 1 samplen 4
set yrange [0:2] # after stats, which would obey it
depth(i) = sublayers > 1 ? 0.3+0.7*i/(sublayers-1.) : 1
plot for [i=0:sublayers-1:2] data index i using 1:2:(depth(i)) with linespoints pt 7 ps 0.3 lw 1.3 dt 1 lc palette notitle, \
     for [i=1:sublayers-1:2] data index i using 1:2:(depth(i)) with linespoints pt 4 ps 0.3 lw 1.3 dt 2 lc palette notitle, \
     keyentry with linespoints pt 7 ps 0.3 lw 1.3 dt 1 lc rgb ink title 'attention', \
     keyentry with linespoints pt 4 ps 0.3 lw 1.3 dt 2 lc rgb ink title 'MLP'
unset output
