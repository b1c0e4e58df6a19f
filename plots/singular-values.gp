# ---- singular values of the accumulated shortcut, one line a token ---------------------------------------------------------------------
# data: one block a token: index, singular value
set xrange [0.5:order+0.5]
first_tick = layer_step(order) > 1 ? 0 : 1
set xtics first_tick,layer_step(order)
lowest = 1
do for [token = 0:tokens-1] {
    stats data index token using 2 name 'A' nooutput
    if (A_min < lowest) { lowest = A_min }
}
if (lowest > 0 && lowest < 0.05) { set logscale y; set format y power; set yrange [lowest/2:1.5] ; if (lowest > 0.002) { set format y '%g' } } else { set yrange [0:1.05] }
unset key
@xtitle 'index (ascending)' @xplace
@ytitle 'singular value' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.17
set tmargin at screen 0.95
plot for [token = 0:tokens-1] data index token using 1:2 with linespoints pt 7 ps 0.3 lw 0.8 lc rgb (tokens > 8 ? translucent : blue)
unset output
