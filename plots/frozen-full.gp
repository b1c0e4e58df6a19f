# ---- full Jacobian of the sublayers against the frozen shortcut --------------------------------------------------------------------------
# data: block 0 sublayer, largest and smallest singular value, spectral radius; block 1 sublayer, quantiles of the frozen eigenvalue
set xrange [-0.6:sublayers-0.4]
set xtics 0,layer_step(sublayers)
stats data index 0 using 3 name 'A' nooutput
if (A_min > 0) { set logscale y; set format y '%g'; if (A_min < 0.002) { set format y power } } else { set yrange [0:*] }
low(a,b) = a*b <= 0 ? 1e-12 : (abs(a) < abs(b) ? abs(a) : abs(b))
high(a,b) = abs(a) > abs(b) ? abs(a) : abs(b)
if (A_min > 0) { set yrange [A_min/3:*] }
@xtitle 'sublayer' @xplace
@ytitle 'singular value' @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.15
set tmargin at screen (format eq 'svg' ? 0.7 : 0.84) # svg has wider letters: four lines of key
set key at screen 0.975,screen 0.98 right top Left reverse horizontal maxrows 2
plot data index 0 using 1:2 with points pt 6 ps 0.6 lw 1.2 lc rgb orange title 'full: largest', \
     data index 0 using 1:3 with points pt 4 ps 0.55 lw 1.2 lc rgb blue title 'full: smallest', \
     data index 0 using 1:(1) with lines lw 0.8 dt 3 lc rgb ink title (frozen ? 'frozen: largest' : ''), \
     data index 1 using 1:(low($2,$4)):(0):(high($2,$4)-low($2,$4)) with vectors nohead lw 1 lc rgb ink notitle, \
     data index 1 using 1:(abs($3)) with points pt 7 ps 0.4 lc rgb ink title (frozen ? 'frozen: smallest' : '')
unset output
