# ---- quantities by sublayer or state, a line and a band for each group of seeds -------------------------------------------------------
# data: a block a quantity and group, the groups of a quantity together: place, mean, interval from, to
last_block = quantities*groups-1
factor = y_scale eq 'shares' ? 100. : 1.
low_mean = lowest(0,last_block,2,2)
bottom = least(0,lowest(0,last_block,2,4))
top = most(0,highest(0,last_block,2,4))
if (y_scale eq 'changes') { @changes }
if (y_scale eq 'sizes') { @sizes }
if (y_scale eq 'shares') { set yrange [0:100]; set ytics 50 }
if (y_scale eq 'powers') { if (low_mean > tiny) { bottom = most(low_mean,top/1e8); eval log_axis } else { @sizes } }
if (y_scale eq 'changes') { set xzeroaxis lt 1 lw 0.8 lc rgb ink }
floor_of(value) = y_scale eq 'powers' && low_mean > tiny ? most(value,bottom/1.5) : factor*value
set xrange [-0.6:places-0.4]
set xtics 0,layer_step(places)
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber.' '.plum.' '.sky
points = '7 4 9 13 5 6 8 12'
place(i) = int(word(colours_of,i+1))%8
hue(i) = word(colours,place(i)+1)
mark(i) = int(word(points,place(i)+1))
# Eight groups share the panels of all quantities; further ones have panels of their own below.
parts = (groups+7)/8
n = quantities*parts
in_part(p) = groups-8*p < 8 ? groups-8*p : 8
rows = (in_part(0)+1)/2
strip = legend_cm(rows)+(quantities > 1 ? 0.42 : 0)
between_cm = parts > 1 ? 0.75+line_cm*rows : 0.62
title_of(y) = y eq 'gate' ? 'gate '.beta : y eq 'tokens' ? 'tokens ('.percent.')' : y eq 'discrepancy' ? 'rms of '.minus_v : y
set style fill transparent solid 0.2 noborder
set multiplot
do for [k = 0:n-1] {
    p = k/quantities
    q = k%quantities
    unset label
    unset arrow
    @panel
    set format x (k == n-1 || q == quantities-1 ? '%g' : '')
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle title_of(y_name) @yplace
    if (quantities > 1) { set label 1 word(titles,q+1) @panel_title }
    down = (1-panel_top(k,n,strip))*height_cm-strip
    first = 8*p
    last = first+in_part(p)-1
    if (q == 0) { do for [i = first:last] { eval entry(i-first, 2, down, word(names,i+1), sprintf('pt %d ps 0.5 lw 1.2',mark(i)), 'lw 1.2', hue(i)) } }
    plot for [i = first:last] data index q*groups+i using 1:(floor_of($3)):(floor_of($4)) with filledcurves lc rgb hue(i), \
         for [i = first:last] data index q*groups+i using 1:(factor*$2) with linespoints pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i)
}
unset multiplot
unset output
