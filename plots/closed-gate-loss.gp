# ---- what each gate is worth when it is forced shut -----------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, change of loss, interval from, to, KL
set xrange [-0.6:layers-0.4]
set yrange [*<0:0<*]
set xtics 0,layer_step(layers)
@xtitle 'layer' @xplace
@ytitle 'change of loss (nats)' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.17
set tmargin at screen 0.88
set key at graph 0,1.08 left center Left reverse horizontal maxrows 1
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using ($1-0.14):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb blue notitle, \
     data index 1 using ($1+0.14):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb orange notitle, \
     data index 0 using ($1-0.14):2 with points pt 7 ps 0.5 lc rgb blue title 'attention', \
     data index 1 using ($1+0.14):2 with points pt 4 ps 0.5 lw 1.2 lc rgb orange title 'MLP'
unset output
