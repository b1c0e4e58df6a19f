# ---- eigenvalue against gate: theory, LAPACK, and below where the trained gates are --------------------------------------------------
# data: block 0 beta, eigenvalue, LAPACK's eigenvalue, determinant, orthogonality defect; block 1 bin edges, densities attention, MLP
every_nth = points > 25 ? int(points/20.) : 1
bottom = least(-1,lowest(0,0,2,3))
top = most(1,highest(0,0,2,3))
n = trained ? 2 : 1; strip = 0.55; between_cm = 1.35
set xrange [0:2]
set xtics 0.5
set multiplot
k = 0
@panel
set yrange [axis_low(bottom,top):axis_high(bottom,top)]
set ytics top-bottom > 2.5 ? tick_step(top-bottom,5) : 0.5
set format x (trained ? '' : '%g')
if (!trained) { @xtitle 'gate '.beta @xplace }
@ytitle 'eigenvalue' @yplace
set label 1 'identity'   at first 0,graph 1 left offset 0,character 0.6 tc rgb ink
set label 2 'projection' at first 1,graph 1 center offset 0,character 0.6 tc rgb ink
set label 3 'reflection' at first 2,graph 1 right offset 0,character 0.6 tc rgb ink
set arrow 1 from first 1,graph 0 to first 1,graph 1 nohead dt 3 lw 0.8 lc rgb faint
# Inside the panel, where the line is not: bottom left.
inside = (1-panel_bottom(0,n,strip))*height_cm-2.4*line_cm
eval entry(0, 2, inside, '  theory', '', 'lw 1.6', ink)
eval entry(2, 2, inside, '  LAPACK', 'pt 6 ps 0.6 lw 1', '', orange)
plot data index 0 using 1:2 with lines lw 1.6 lc rgb ink, \
     data index 0 using 1:3 every every_nth with points pt 6 ps 0.6 lw 1 lc rgb orange
if (trained) {
    unset label
    unset arrow
    k = 1
    @panel
    top = most(0,highest(1,1,3,4))
    @sizes
    set ytics tick_step(span(0,top),3)
    set format x '%g'
    @xtitle 'gate '.beta @xplace
    @ytitle 'density' @yplace
    above = (1-panel_top(1,n,strip))*height_cm-0.55
    eval entry(0, 3, above, 'attention', 'pt 5 ps 0.8', '', blue)
    eval entry(1, 3, above, 'MLP', '', 'lw 1.4', orange)
    set style fill transparent solid 0.55 noborder
    plot data index 1 using (($1+$2)/2):3:($2-$1) with boxes lc rgb blue, \
         data index 1 using (($1+$2)/2):4 with histeps lw 1.4 lc rgb orange
}
unset multiplot
unset output
