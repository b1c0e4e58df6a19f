# ---- mean gates along a run ------------------------------------------------------------------------------------------------------------
# data: a block a sublayer: step, mean gate
@xtitle x_name @xplace
@ytitle 'gate '.beta @yplace
set xrange [axis_low(low(0,1),high(0,1)):axis_high(low(0,1),high(0,1))]
if (high(0,1) > low(0,1)) { set xtics tick_step(high(0,1)-low(0,1),5) } else { set xtics (low(0,1)) }
set yrange [0:2]
set ytics 0.5
k = 0; n = 1; strip = legend_cm(1)
@panel
eval entry(0, 3, 0, 'attention', 'pt 7 ps 0.3', 'lw 1.3', ink)
eval entry(1, 3, 0, 'MLP', 'pt 4 ps 0.3', 'lw 1.3 dt 2', ink)
depth(i) = sublayers > 1 ? 0.3+0.7*i/(sublayers-1.) : 1
plot for [i=0:sublayers-1:2] data index i using 1:2:(depth(i)) with linespoints pt 7 ps 0.3 lw 1.3 dt 1 lc palette, \
     for [i=1:sublayers-1:2] data index i using 1:2:(depth(i)) with linespoints pt 4 ps 0.3 lw 1.3 dt 2 lc palette
unset output
