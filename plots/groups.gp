# ---- a quantity by sublayer, a line and a band for each group of seeds ------------------------------------------------------------
# data: a block a group: sublayer, mean, interval from, to
bottom = least(0,lowest(0,groups-1,2,4))
top = most(0,highest(0,groups-1,2,4))
@changes
set xzeroaxis lt 1 lw 0.8 lc rgb ink
set xrange [-0.6:sublayers-0.4]
set xtics 0,layer_step(sublayers)
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
n = (groups+5)/6
in_panel(k) = groups-6*k < 6 ? groups-6*k : 6
rows = (in_panel(0)+1)/2
strip = legend_cm(rows)
between_cm = 0.75+line_cm*rows
set style fill transparent solid 0.2 noborder
set multiplot
do for [k = 0:n-1] {
    unset label
    unset arrow
    @panel
    if (k == n-1) { @xtitle 'sublayer' @xplace }
    @ytitle gates ? 'gate '.beta : 'rise of loss (nats)' @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    do for [i = 6*k:6*k+in_panel(k)-1] { eval entry(i-6*k, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), 'lw 1.2', hue(i)) }
    plot for [i = 6*k:6*k+in_panel(k)-1] data index i using 1:3:4 with filledcurves lc rgb hue(i), \
         for [i = 6*k:6*k+in_panel(k)-1] data index i using 1:2 with linespoints pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
