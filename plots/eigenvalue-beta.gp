# ---- eigenvalue against gate: theory, LAPACK, and below where the trained gates are --------------------------------------------------
# data: block 0 beta, eigenvalue, LAPACK's eigenvalue, determinant, orthogonality defect; block 1 bin edges, densities attention, MLP
densest = 1
if (trained) {
    stats data index 1 using 3 name 'A' nooutput
    stats data index 1 using 4 name 'M' nooutput
    densest = A_max > M_max ? A_max : M_max
}
every_nth = points > 25 ? int(points/20.) : 1
split = trained ? 0.47 : 0.13
set xrange [0:2]
set xtics 0.5
set lmargin at screen 0.135
set rmargin at screen 0.965
set multiplot
set tmargin at screen 0.93
set bmargin at screen split
set yrange [-1.1:1.1]
set ytics 0.5
set format x (trained ? '' : '%g')
if (!trained) { @xtitle 'gate '.beta @xplace }
@ytitle 'eigenvalue' @yplace
set label 1 'identity'   at first 0,graph 1.06 left tc rgb ink
set label 2 'projection' at first 1,graph 1.06 center tc rgb ink
set label 3 'reflection' at first 2,graph 1.06 right tc rgb ink
set arrow 1 from first 1,graph 0 to first 1,graph 1 nohead dt 3 lw 0.8 lc rgb faint
set key at graph 0.03,0.06 left bottom Left reverse
plot data index 0 using 1:2 with lines lw 1.6 lc rgb ink title 'theory', \
     data index 0 using 1:3 every every_nth with points pt 6 ps 0.6 lw 1 lc rgb orange title 'LAPACK'
if (trained) {
    unset label
    set tmargin at screen 0.385
    set bmargin at screen 0.13
    set yrange [0:1.05*densest]
    set ytics tick_step(densest,3)
    set format x '%g'
    @xtitle 'gate '.beta @xplace
    @ytitle 'density' @yplace
    set key at graph 1,1.2 right center Left reverse horizontal maxrows 1
    set style fill transparent solid 0.55 noborder
    plot data index 1 using (($1+$2)/2):3:($2-$1) with boxes lc rgb blue title 'attention', \
         data index 1 using (($1+$2)/2):4 with histeps lw 1.4 lc rgb orange title 'MLP'
}
unset multiplot
unset output
