# ---- loss against what was swept -----------------------------------------------------------------------------------------------------
# data: a block a variant: value, mean, interval from, to
bottom = lowest(0,variants-1,2,4)
top = highest(0,variants-1,2,4)
set yrange [axis_low(bottom,top):axis_high(bottom,top)]
left = lowest(0,variants-1,1,1)
right = highest(0,variants-1,1,1)
if (left > 0 && right > left) {
    set logscale x
    set xrange [left/1.2:right*1.2]
    set format x '%g'
    set xtics ()
    do for [decade = floor(log10(left)):ceil(log10(right))] { do for [digit in (right < 100*left ? "1 2 5" : "1")] { set xtics add (digit*10.**decade) } }
} else {
    if (left == left) { set xrange [axis_low(left,right):axis_high(left,right)] } else { set xrange [0:1] }
}
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
n = (variants+5)/6
in_panel(k) = variants-6*k < 6 ? variants-6*k : 6
rows = (in_panel(0)+1)/2
strip = legend_cm(rows)
between_cm = 0.75+line_cm*rows
set style fill transparent solid 0.2 noborder
set multiplot
do for [k = 0:n-1] {
    unset label
    unset arrow
    @panel
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle 'final loss (nats)' @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip
    first = 6*k
    last = first+in_panel(k)-1
    do for [i = first:last] { eval entry(i-first, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), 'lw 1.2', hue(i)) }
    plot for [i = first:last] data index i using 1:3:4 with filledcurves lc rgb hue(i), \
         for [i = first:last] data index i using 1:2 with linespoints pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
