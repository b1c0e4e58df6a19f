# ---- gradient reaching each state, and the paths it took --------------------------------------------------------------------------------
# data: block 0 state, norm; block 1 sublayer, norms through shortcut, direction (additive: branch), gate, value
set xrange [-0.6:sublayers+0.6]
set xtics 0,layer_step(sublayers+1)
top = most(0,most(high(0,2),highest(1,1,2,5)))
bottom = NaN
do for [c = 2:5] { if (low(1,c) > tiny) { bottom = least(bottom,low(1,c)) } }
if (bottom > 0) { bottom = most(bottom,top/1e8); eval log_axis } else { @sizes }
@xtitle (tex ? 'state $X_s$' : 'state X_s') @xplace
@ytitle 'gradient norm (nats / state unit)' @yplace
k = 0; n = 1; strip = legend_cm(gates ? 2 : 1)
@panel
eval entry(0, 3, 0, 'total', '', 'lw 2', faint)
eval entry(1, 3, 0, 'shortcut', 'pt 7 ps 0.45', 'lw 1', ink)
eval entry(2, 3, 0, gates ? 'direction' : 'branch', 'pt 6 ps 0.5', 'lw 1', blue)
if (gates) {
    eval entry(3, 3, 0, 'gate', 'pt 4 ps 0.5', 'lw 1 dt 2', orange)
    eval entry(4, 3, 0, 'value', 'pt 8 ps 0.55', 'lw 1 dt 4', green)
}
plot data index 0 using 1:2 with lines lw 2 lc rgb faint, \
     data index 1 using 1:2 with linespoints pt 7 ps 0.45 lw 1 lc rgb ink, \
     data index 1 using 1:3 with linespoints pt 6 ps 0.5 lw 1 lc rgb blue, \
     for [i=1:gates] data index 1 using 1:4 with linespoints pt 4 ps 0.5 lw 1 dt 2 lc rgb orange, \
     for [i=1:gates] data index 1 using 1:5 with linespoints pt 8 ps 0.55 lw 1 dt 4 lc rgb green
unset output
