# ---- gradient reaching each state, and the paths it took --------------------------------------------------------------------------------
# data: block 0 state, norm; block 1 sublayer, norms through shortcut, direction (additive: branch), gate, value
set xrange [-0.6:sublayers+0.6]
set xtics 0,layer_step(sublayers+1)
lowest = 1e300; highest = 0
stats data index 0 using 2 name 'A' nooutput
highest = A_max
do for [column = 2:5] {
    stats data index 1 using column name 'A' nooutput
    if (A_min > 0 && A_min < lowest) { lowest = A_min }
    if (A_max > highest) { highest = A_max }
}
if (lowest < 1e300) { set logscale y; set yrange [(lowest > highest/1e8 ? lowest : highest/1e8)/2:highest*2]; set format y power }
@xtitle (tex ? 'state $X_s$' : 'state X_s') @xplace
@ytitle 'gradient norm (nats / state unit)' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.14
set tmargin at screen 0.85
set key at screen 0.975,screen 0.98 right top Left reverse horizontal maxrows 2
plot data index 0 using 1:2 with lines lw 2 lc rgb faint title 'total', \
     data index 1 using 1:2 with linespoints pt 7 ps 0.45 lw 1 lc rgb ink title 'shortcut', \
     data index 1 using 1:3 with linespoints pt 6 ps 0.5 lw 1 lc rgb blue title gates ? 'direction' : 'branch', \
     for [i=1:gates] data index 1 using 1:4 with linespoints pt 4 ps 0.5 lw 1 dt 2 lc rgb orange title 'gate', \
     for [i=1:gates] data index 1 using 1:5 with linespoints pt 8 ps 0.55 lw 1 dt 4 lc rgb green title 'value'
unset output
