# ---- eigenvalue against gate: theory, LAPACK, and below where the trained gates are --------------------------------------------------
# data: block 0 beta, eigenvalue, LAPACK's eigenvalue, determinant, orthogonality defect; block 1 bin edges, densities attention, MLP
set xrange [0:2]
set xtics 0.5
set lmargin at screen 0.135
set rmargin at screen 0.965
split = trained ? 0.42 : 0.13
every_nth = points > 25 ? int(points/20.) : 1
set multiplot
set tmargin at screen 0.93
set bmargin at screen split
set yrange [-1.1:1.1]
set ytics 0.5
set format x (trained ? '' : '%g')
set xlabel (trained ? '' : 'gate β')
set ylabel 'eigenvalue'
set label 1 'identity'   at first 0,graph 1.05 left tc rgb ink
set label 2 'projection' at first 1,graph 1.05 center tc rgb ink
set label 3 'reflection' at first 2,graph 1.05 right tc rgb ink
set arrow 1 from first 1,graph 0 to first 1,graph 1 nohead dt 3 lw 0.8 lc rgb faint
set key bottom left Left reverse
plot data index 0 using 1:2 with lines lw 1.6 lc rgb ink title 'theory', \
     data index 0 using 1:3 every every_nth with points pt 6 ps 0.6 lw 1 lc rgb orange title 'LAPACK'
if (trained) {
    unset label
    set tmargin at screen split-0.05
    set bmargin at screen 0.13
    set yrange [0:*]
    set ytics auto
    set ytics autofreq
    set format x '%g'
    set xlabel 'gate β'
    set ylabel 'density'
    set key top right Left reverse
    stats data index 1 using 3 name 'A' nooutput
    stats data index 1 using 4 name 'M' nooutput
    set yrange [0:1.12*(A_max > M_max ? A_max : M_max)]
    set style fill solid 0.55 noborder
    plot data index 1 using (($1+$2)/2):3:($2-$1) with boxes lc rgb blue title 'attention', \
         data index 1 using (($1+$2)/2):4 with histeps lw 1.4 lc rgb orange title 'MLP'
}
unset multiplot
set output
