# ---- readout, target and edit by depth -----------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, readout rms, target rms, edit norm, edit relative to the state
lowest = 1e300; highest = 0
do for [kind = 0:1] { do for [column = 2:4] {
    stats data index kind using column name 'A' nooutput
    if (A_min > 0 && A_min < lowest) { lowest = A_min }
    if (A_max > highest) { highest = A_max }
} }
if (lowest < highest/20) { set logscale y; set yrange [lowest/1.5:highest*1.5]; set format y '%g' } else { if (highest <= 0) { highest = 1 }; set yrange [0:1.1*highest]; set ytics tick_step(highest,3) }
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
set lmargin at screen 0.155
set rmargin at screen 0.975
set multiplot
do for [kind = 0:1] {
    set tmargin at screen (kind == 0 ? 0.86 : 0.475)
    set bmargin at screen (kind == 0 ? 0.54 : 0.155)
    set format x (kind == 0 ? '' : '%g')
    if (kind == 1) { @xtitle 'layer' @xplace }
    @ytitle 'size (state units)' @yplace
    set label 1 (kind == 0 ? 'attention' : 'MLP') at graph 0,1.07 left tc rgb ink
    if (kind == 0) { set key at screen 0.975,screen 0.975 right top Left reverse horizontal maxrows 1 } else { unset key }
    plot data index kind using 1:2 with linespoints pt 6 ps 0.5 lw 1.1 lc rgb blue title 'readout', \
         '' index kind using 1:3 with linespoints pt 4 ps 0.5 lw 1.1 dt 2 lc rgb orange title 'target', \
         '' index kind using 1:4 with linespoints pt 7 ps 0.5 lw 1.1 lc rgb ink title 'edit'
}
unset multiplot
unset output
