# ---- several checkpoints side by side, a series each -----------------------------------------------------------------------------------
# data: a block a checkpoint: x, value, interval or band from, to
# x_name, y_name: titles; y_scale: gates, changes, sizes or powers; joined: a line through the points
bottom = least(lowest(0,checkpoints-1,2,2),lowest(0,checkpoints-1,3,4))
top = most(0,highest(0,checkpoints-1,2,4))
if (y_scale eq 'gates') {
    set yrange [0:2]
    set ytics 0.5
}
if (y_scale eq 'changes') {
    bottom = least(0,bottom)
    @changes
    set xzeroaxis lt 1 lw 0.8 lc rgb ink
}
if (y_scale eq 'powers' && bottom > tiny) { bottom = most(bottom,top/1e8); eval log_axis }
if (y_scale eq 'sizes' || (y_scale eq 'powers' && !(bottom > tiny))) { @sizes }
first = lowest(0,checkpoints-1,1,1)
last = highest(0,checkpoints-1,1,1)
set xrange [first-0.6:last+0.6]
step = layer_step(last-first+1)
first_tick = step > 1 ? 0 : first
set xtics first_tick,step
y_title = y_name eq 'gate' ? 'gate '.beta : y_name eq 'exponent' ? 'exponent '.alpha : y_name
# Six checkpoints a panel: more could not be told apart.
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
n = (checkpoints+5)/6
in_panel(k) = checkpoints-6*k < 6 ? checkpoints-6*k : 6
rows = (in_panel(0)+1)/2
strip = legend_cm(rows)
between_cm = 0.75+line_cm*rows
aside(i) = (i%6-(in_panel(i/6)-1)/2.)*0.6/in_panel(i/6)
set multiplot
do for [k = 0:n-1] {
    unset label
    @panel
    set format x '%g'
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle y_title @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    do for [i = 6*k:6*k+in_panel(k)-1] { eval entry(i-6*k, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), '', hue(i)) }
    plot for [i = 6*k:6*k+in_panel(k)-1] data index i using ($1+aside(i)):3:(0):($4-$3) with vectors nohead lw (y_scale eq 'changes' ? 1.4 : 0.8) lc rgb hue(i), \
         for [i = 6*k:6*k+in_panel(k)-1] data index i using ($1+aside(i)):(joined ? $2 : NaN) with lines lw 0.8 lc rgb hue(i), \
         for [i = 6*k:6*k+in_panel(k)-1] data index i using ($1+aside(i)):2 with points pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
