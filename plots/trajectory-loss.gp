# ---- loss along a run --------------------------------------------------------------------------------------------------------------------
# data: step, loss, difference from the first, interval from, to
@xtitle x_name @xplace
@ytitle 'loss (nats)' @yplace
set xrange [axis_low(low(0,1),high(0,1)):axis_high(low(0,1),high(0,1))]
if (high(0,1) > low(0,1)) { set xtics tick_step(high(0,1)-low(0,1),5) } else { set xtics (low(0,1)) }
# The intervals are about the differences: the axis takes the loss and the widest arm on either side.
arm(d,e) = d == d && e == e ? abs(d-e) : 0
bottom = low(0,2)-arm(low(0,3),low(0,4))
top = high(0,2)+arm(high(0,3),high(0,5))
set yrange [axis_low(bottom,top):axis_high(bottom,top)]
k = 0; n = 1; strip = 0.2
@panel
plot data using 1:($2-$3+$4):(0):($5-$4) with vectors nohead lw 1.4 lc rgb blue, \
     data using 1:2 with linespoints pt 7 ps 0.5 lw 1.2 lc rgb blue
unset output
