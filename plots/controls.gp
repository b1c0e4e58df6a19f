# ---- the ways of forcing gates side by side --------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP), 2 (all): mode, change of loss, interval from, to; settings: the modes' names
bottom = least(0,lowest(0,2,2,4))
top = most(0,highest(0,2,2,4))
set xrange [-0.6:modes-0.4]
@changes
@ytitle 'change of loss (nats)' @yplace
k = 0; n = 1; strip = legend_cm(1)
@panel
eval entry(0, 3, 0, 'all attention', 'pt 7 ps 0.55', '', blue)
eval entry(1, 3, 0, 'all MLP', 'pt 4 ps 0.55 lw 1.2', '', orange)
eval entry(2, 3, 0, 'all', 'pt 9 ps 0.65', '', ink)
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using ($1-0.22):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb blue, \
     data index 1 using 1:3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb orange, \
     data index 2 using ($1+0.22):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb ink, \
     data index 0 using ($1-0.22):2 with points pt 7 ps 0.55 lc rgb blue, \
     data index 1 using 1:2 with points pt 4 ps 0.55 lw 1.2 lc rgb orange, \
     data index 2 using ($1+0.22):2 with points pt 9 ps 0.65 lc rgb ink
unset output
