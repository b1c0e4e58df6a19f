# ---- eigenvalues of the accumulated shortcut in the complex plane -----------------------------------------------------------------
# data: token, real part, imaginary part
reach = most(1.15,1.06*most(size(low(0,2),high(0,2)),size(low(0,3),high(0,3))))
set size ratio -1
set xrange [-reach:reach]
set yrange [-reach:reach]
set xtics reach > 1.2 ? tick_step(2*reach,5) : 0.5
set ytics reach > 1.2 ? tick_step(2*reach,5) : 0.5
set bmargin at screen below_cm/height_cm
set tmargin at screen 1-0.2/height_cm
unset grid
set zeroaxis lt 1 lw 0.5 lc rgb faint
@xtitle 'real part' @xplace
@ytitle 'imaginary part' @yplace
set object 1 circle at first 0,0 size first 1 fc rgb ink fs empty border lc rgb ink lw 0.9 front
plot data using 2:3 with points pt 7 ps (tokens > 8 ? 0.3 : 0.5) lc rgb (tokens > 8 ? translucent : blue), \
     '+' using (1):(0) every ::0::0 with points pt 4 ps 0.9 lw 1.3 lc rgb orange
unset output
