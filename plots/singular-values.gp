# ---- singular values of the accumulated shortcut, one line a token ---------------------------------------------------------------------
# data: one block a token: index, singular value
bottom = lowest(0,tokens-1,2,2)
top = most(1,highest(0,tokens-1,2,2))
set xrange [0.5:order+0.5]
first_tick = layer_step(order) > 1 ? 0 : 1
set xtics first_tick,layer_step(order)
if (bottom > tiny && bottom < 0.05*top) { eval log_axis } else { @sizes }
@xtitle 'index (ascending)' @xplace
@ytitle 'singular value' @yplace
k = 0; n = 1; strip = 0.2
@panel
plot for [token = 0:tokens-1] data index token using 1:2 with linespoints pt 7 ps 0.3 lw 0.8 lc rgb (tokens > 8 ? translucent : blue)
unset output
