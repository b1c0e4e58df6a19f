# ---- how much is read of each sublayer against what it is worth, a series a checkpoint --------------------------------------------------
# data: a block a checkpoint: mean share in later reads, rise of the loss when closed
bottom = least(0,lowest(0,checkpoints-1,2,2))
top = most(0,highest(0,checkpoints-1,2,2))
right = most(0,highest(0,checkpoints-1,1,1))
@changes
set xzeroaxis lt 1 lw 0.8 lc rgb ink
set xrange [0:axis_high(0,right)]
set xtics tick_step(axis_high(0,right),6)
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
n = (checkpoints+5)/6
in_panel(k) = checkpoints-6*k < 6 ? checkpoints-6*k : 6
rows = (in_panel(0)+1)/2
strip = legend_cm(rows)
between_cm = 0.75+line_cm*rows
set multiplot
do for [k = 0:n-1] {
    unset label
    @panel
    set format x '%g'
    if (k == n-1) { @xtitle 'mean share in later reads' @xplace }
    @ytitle 'rise of loss (nats)' @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    do for [i = 6*k:6*k+in_panel(k)-1] { eval entry(i-6*k, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), '', hue(i)) }
    plot for [i = 6*k:6*k+in_panel(k)-1] data index i using 1:2 with points pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
