# ---- the ways of forcing gates side by side --------------------------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP), 2 (all): mode, change of loss, interval from, to; settings: the modes' names
set xrange [-0.6:modes-0.4]
set yrange [*<0:0<*]
@ytitle 'change of loss (nats)' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.19 # the modes' names take two lines
set tmargin at screen 0.84
set key at screen 0.985,screen 0.975 right top Left reverse horizontal maxrows 1 width -1 samplen 0.6
set xzeroaxis lt 1 lw 0.8 lc rgb ink
plot data index 0 using ($1-0.22):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb blue notitle, \
     data index 1 using 1:3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb orange notitle, \
     data index 2 using ($1+0.22):3:(0):($4-$3) with vectors nohead lw 1.4 lc rgb ink notitle, \
     data index 0 using ($1-0.22):2 with points pt 7 ps 0.55 lc rgb blue title 'all attention', \
     data index 1 using 1:2 with points pt 4 ps 0.55 lw 1.2 lc rgb orange title 'all MLP', \
     data index 2 using ($1+0.22):2 with points pt 9 ps 0.65 lc rgb ink title 'all'
unset output
