# ---- spectra of the weight matrices by layer ---------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, place within the layer, exponent, its standard error, stable rank
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
place(layer,slot,kind) = layer+(kind == 0 ? -0.38+0.1*slot : 0.12+0.1*slot)
wide = highest(0,1,4,4)
array highest_in[2]
highest_in[1] = most(0,highest(0,1,3,3)+(wide == wide ? wide : 0))
highest_in[2] = most(0,highest(0,1,5,5))
n = 2; strip = legend_cm(1)
eval entry(0, 3, 0, 'attention', 'pt 7 ps 0.35', '', blue)
eval entry(1, 3, 0, 'MLP', 'pt 4 ps 0.4 lw 1.1', '', orange)
set multiplot
do for [k = 0:1] {
    @panel
    set format x (k == 0 ? '' : '%g')
    if (k == 1) { unset label; @xtitle 'layer' @xplace }
    @ytitle (k == 0 ? 'exponent '.alpha : 'stable rank') @yplace
    top = highest_in[k+1]
    @sizes
    set ytics tick_step(span(0,top),4)
    plot data index 0 using (place($1,$2,0)):(k == 0 ? $3-$4 : NaN):(0):(2*$4) with vectors nohead lw 0.9 lc rgb blue, \
         data index 1 using (place($1,$2,1)):(k == 0 ? $3-$4 : NaN):(0):(2*$4) with vectors nohead lw 0.9 lc rgb orange, \
         data index 0 using (place($1,$2,0)):(column(k == 0 ? 3 : 5)) with points pt 7 ps 0.35 lc rgb blue, \
         data index 1 using (place($1,$2,1)):(column(k == 0 ? 3 : 5)) with points pt 4 ps 0.4 lw 1.1 lc rgb orange
}
unset multiplot
unset output
