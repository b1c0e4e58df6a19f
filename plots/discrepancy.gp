# ---- discrepancy between readout and target before and after the edit ----------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, rms before, rms after
top = most(0,highest(0,1,2,3))
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
@sizes
set ytics tick_step(span(0,top),3)
n = 2; strip = legend_cm(1)+0.5
eval entry(0, 3, 0, 'before', 'pt 6 ps 0.55 lw 1.2', '', orange)
eval entry(1, 3, 0, 'after', 'pt 7 ps 0.55', '', blue)
set multiplot
do for [k = 0:1] {
    @panel
    set format x (k == 0 ? '' : '%g')
    if (k == 1) { unset label; @xtitle 'layer' @xplace }
    @ytitle 'rms of '.minus_v @yplace
    set label 1 (k == 0 ? 'attention' : 'MLP') @panel_title
    plot data index k using 1:2:(0):($3-$2) with vectors nohead lw 0.8 lc rgb ink, \
         '' index k using 1:2 with points pt 6 ps 0.55 lw 1.2 lc rgb orange, \
         '' index k using 1:3 with points pt 7 ps 0.55 lc rgb blue
}
unset multiplot
unset output
