# ---- gate distribution by depth: one panel for attention, one for MLP ---------------------------------------------------------------
# data: blocks 0, 1 layer and quantiles 0.01 0.05 0.25 0.5 0.75 0.95 0.99, mean; blocks 2, 3 layer, bin edges, relative share
unset key
set xrange [-0.5:layers-0.5]
set yrange [0:2]
set ytics 0.5
set xtics 0,layer_step(layers)
set lmargin at screen 0.135
set rmargin at screen 0.975
set multiplot
do for [kind = 0:1] {
    set tmargin at screen (kind == 0 ? 0.94 : 0.50)
    set bmargin at screen (kind == 0 ? 0.57 : 0.13)
    set format x (kind == 0 ? '' : '%g')
    if (kind == 1) { @xtitle 'layer' @xplace }
    @ytitle 'gate '.beta @yplace
    set label 1 (kind == 0 ? 'attention' : 'MLP') at graph 0,1.07 left tc rgb ink
    plot data index 2+kind using 1:(($2+$3)/2):($1-0.46):($1+0.46):2:3:4 with boxxyerror fs solid noborder lc palette, \
         data index kind using 1:3:(0):($7-$3) with vectors nohead lw 0.8 lc rgb orange, \
         data index kind using ($1-0.25):3:(0.5):(0) with vectors nohead lw 1.2 lc rgb orange, \
         data index kind using ($1-0.25):7:(0.5):(0) with vectors nohead lw 1.2 lc rgb orange, \
         data index kind using ($1-0.46):5:(0.92):(0) with vectors nohead lw 2.2 lc rgb orange
}
unset multiplot
unset output
