# ---- gate distribution by depth: one panel for attention, one for MLP ---------------------------------------------------------------
# data: blocks 0, 1 layer and quantiles 0.01 0.05 0.25 0.5 0.75 0.95 0.99, mean; blocks 2, 3 layer, bin edges, relative share
set xrange [-0.5:layers-0.5]
set yrange [0:2]
set ytics 0.5
set xtics 0,layer_step(layers)
n = 2; strip = 0.5
set multiplot
do for [k = 0:1] {
    @panel
    set format x (k == 0 ? '' : '%g')
    if (k == 1) { @xtitle 'layer' @xplace }
    @ytitle 'gate '.beta @yplace
    set label 1 (k == 0 ? 'attention' : 'MLP') @panel_title
    plot data index 2+k using 1:(($2+$3)/2):($1-0.46):($1+0.46):2:3:4 with boxxyerror fs solid noborder lc palette, \
         data index k using 1:3:(0):($7-$3) with vectors nohead lw 0.8 lc rgb orange, \
         data index k using ($1-0.25):3:(0.5):(0) with vectors nohead lw 1.2 lc rgb orange, \
         data index k using ($1-0.25):7:(0.5):(0) with vectors nohead lw 1.2 lc rgb orange, \
         data index k using ($1-0.46):5:(0.92):(0) with vectors nohead lw 2.2 lc rgb orange
}
unset multiplot
unset output
