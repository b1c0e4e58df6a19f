# ---- full Jacobian of the sublayers against the frozen shortcut --------------------------------------------------------------------------
# data: block 0 sublayer, largest and smallest singular value, spectral radius; block 1 sublayer, quantiles of the frozen eigenvalue
near(a,b) = a*b <= 0 ? 1e-12 : (abs(a) < abs(b) ? abs(a) : abs(b))
far(a,b) = abs(a) > abs(b) ? abs(a) : abs(b)
top = most(1,highest(0,0,2,3))
if (frozen) { top = most(top,size(low(1,2),high(1,4))) }
bottom = low(0,3)
set xrange [-0.6:sublayers-0.4]
set xtics 0,layer_step(sublayers)
if (bottom > tiny) { bottom = bottom/3; eval log_axis } else { @sizes }
@xtitle 'sublayer' @xplace
@ytitle 'singular value' @yplace
k = 0; n = 1; strip = legend_cm(2)
@panel
eval entry(0, 2, 0, 'full: largest', 'pt 6 ps 0.6 lw 1.2', '', orange)
eval entry(2, 2, 0, 'full: smallest', 'pt 4 ps 0.55 lw 1.2', '', blue)
if (frozen) {
    eval entry(1, 2, 0, 'frozen: largest', '', 'lw 0.8 dt 3', ink)
    eval entry(3, 2, 0, 'frozen: smallest', 'pt 7 ps 0.4', '', ink)
}
plot data index 0 using 1:2 with points pt 6 ps 0.6 lw 1.2 lc rgb orange, \
     data index 0 using 1:3 with points pt 4 ps 0.55 lw 1.2 lc rgb blue, \
     for [i=1:frozen] data index 0 using 1:(1) with lines lw 0.8 dt 3 lc rgb ink, \
     for [i=1:frozen] data index 1 using 1:(near($2,$4)):(0):(far($2,$4)-near($2,$4)) with vectors nohead lw 1 lc rgb ink, \
     for [i=1:frozen] data index 1 using 1:(abs($3)) with points pt 7 ps 0.4 lc rgb ink
unset output
