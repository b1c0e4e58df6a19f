# ---- mean gates of several checkpoints -----------------------------------------------------------------------------------------------
# data: a block a checkpoint: sublayer, mean gate, 5th and 95th percentile
set yrange [0:2]
set ytics 0.5
set xrange [-0.6:sublayers-0.4]
set xtics 0,layer_step(sublayers)
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
    if (k == n-1) { @xtitle 'sublayer' @xplace }
    @ytitle 'gate '.beta @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    do for [i = 6*k:6*k+in_panel(k)-1] { eval entry(i-6*k, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), '', hue(i)) }
    plot for [i = 6*k:6*k+in_panel(k)-1] data index i using ($1+aside(i)):3:(0):($4-$3) with vectors nohead lw 0.8 lc rgb hue(i), \
         for [i = 6*k:6*k+in_panel(k)-1] data index i using ($1+aside(i)):2 with points pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
