# ---- readout, target and edit by depth -----------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, readout rms, target rms, edit norm, edit relative to the state
bottom = NaN
do for [k = 0:1] { do for [c = 2:4] { if (low(k,c) > tiny) { bottom = least(bottom,low(k,c)) } } }
top = most(0,highest(0,1,2,4))
if (bottom < top/20) { eval log_axis } else { @sizes; set ytics tick_step(span(0,top),3) }
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
n = 2; strip = legend_cm(1)+0.5
eval entry(0, 3, 0, 'readout', 'pt 6 ps 0.5', 'lw 1.1', blue)
eval entry(1, 3, 0, 'target', 'pt 4 ps 0.5', 'lw 1.1 dt 2', orange)
eval entry(2, 3, 0, 'edit', 'pt 7 ps 0.5', 'lw 1.1', ink)
set multiplot
do for [k = 0:1] {
    @panel
    set format x (k == 0 ? '' : '%g')
    if (k == 1) { unset label; unset arrow; @xtitle 'layer' @xplace }
    @ytitle 'size (state units)' @yplace
    set label 1 (k == 0 ? 'attention' : 'MLP') @panel_title
    plot data index k using 1:2 with linespoints pt 6 ps 0.5 lw 1.1 lc rgb blue, \
         '' index k using 1:3 with linespoints pt 4 ps 0.5 lw 1.1 dt 2 lc rgb orange, \
         '' index k using 1:4 with linespoints pt 7 ps 0.5 lw 1.1 lc rgb ink
}
unset multiplot
unset output
