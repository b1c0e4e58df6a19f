# ---- spectra of the weight matrices by layer ---------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, place within the layer, exponent, its standard error, stable rank
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
set lmargin at screen 0.155
set rmargin at screen 0.975
place(layer,slot,kind) = layer+(kind == 0 ? -0.38+0.1*slot : 0.12+0.1*slot)
array highest[2] = [highest_alpha, highest_rank]
do for [panel = 1:2] { if (!(highest[panel] > 0)) { highest[panel] = 1 } }
set multiplot
do for [panel = 0:1] {
    set tmargin at screen (panel == 0 ? 0.91 : 0.5)
    set bmargin at screen (panel == 0 ? 0.55 : 0.13)
    set format x (panel == 0 ? '' : '%g')
    if (panel == 1) { @xtitle 'layer' @xplace }
    @ytitle (panel == 0 ? 'exponent '.alpha : 'stable rank') @yplace
    if (panel == 0) { set key at graph 0,1.1 left center Left reverse horizontal maxrows 1 } else { unset key }
    column_of(p) = p == 0 ? 3 : 5
    set yrange [0:1.1*highest[panel+1]]
    set ytics tick_step(highest[panel+1],4)
    plot data index 0 using (place($1,$2,0)):(panel == 0 ? $3-$4 : NaN):(0):(2*$4) with vectors nohead lw 0.9 lc rgb blue notitle, \
         data index 1 using (place($1,$2,1)):(panel == 0 ? $3-$4 : NaN):(0):(2*$4) with vectors nohead lw 0.9 lc rgb orange notitle, \
         data index 0 using (place($1,$2,0)):(column(column_of(panel))) with points pt 7 ps 0.35 lc rgb blue title 'attention', \
         data index 1 using (place($1,$2,1)):(column(column_of(panel))) with points pt 4 ps 0.4 lw 1.1 lc rgb orange title 'MLP'
}
unset multiplot
