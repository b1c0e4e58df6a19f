# ---- what each gate is worth when it is forced shut ---------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, change of loss, interval from, to, KL
bottom = least(0,lowest(0,1,2,4))
top = most(0,highest(0,1,2,4))
set xrange [-0.6:layers-0.4]
@changes
set xtics 0,layer_step(layers)
@xtitle 'layer' @xplace
@ytitle 'change of loss (nats)' @yplace
k = 0; n = 1; strip = legend_cm(1)
@panel
eval entry(0, 3, 0, 'attention', 'pt 7 ps 0.5', '', blue)
eval entry(1, 3, 0, 'MLP', 'pt 4 ps 0.5 lw 1.2', '', orange)
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using ($1-0.14):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb blue, \
     data index 1 using ($1+0.14):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb orange, \
     data index 0 using ($1-0.14):2 with points pt 7 ps 0.5 lc rgb blue, \
     data index 1 using ($1+0.14):2 with points pt 4 ps 0.5 lw 1.2 lc rgb orange
unset output
