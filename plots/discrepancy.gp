# ---- discrepancy between readout and target before and after the edit ----------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, rms before, rms after
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
set lmargin at screen 0.155
set rmargin at screen 0.975
highest = 0
do for [kind = 0:1] { do for [column = 2:3] {
    stats data index kind using column name 'A' nooutput
    if (A_max > highest) { highest = A_max }
} }
if (highest <= 0) { highest = 1 }
set yrange [0:1.1*highest]
set ytics tick_step(highest,3)
set multiplot
do for [kind = 0:1] {
    set tmargin at screen (kind == 0 ? 0.86 : 0.475)
    set bmargin at screen (kind == 0 ? 0.54 : 0.155)
    set format x (kind == 0 ? '' : '%g')
    if (kind == 1) { @xtitle 'layer' @xplace }
    @ytitle 'rms of '.minus_v @yplace
    set label 1 (kind == 0 ? 'attention' : 'MLP') at graph 0,1.07 left tc rgb ink
    if (kind == 0) { set key at screen 0.975,screen 0.975 right top Left reverse horizontal maxrows 1 } else { unset key }
    plot data index kind using 1:2:(0):($3-$2) with vectors nohead lw 0.8 lc rgb ink notitle, \
         '' index kind using 1:2 with points pt 6 ps 0.55 lw 1.2 lc rgb orange title 'before', \
         '' index kind using 1:3 with points pt 7 ps 0.55 lc rgb blue title 'after'
}
unset multiplot
unset output
