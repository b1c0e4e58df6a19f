# ---- eigenvalues of the accumulated shortcut in the complex plane ----------------------------------------------------------------------
# data: token, real part, imaginary part
set size ratio -1
set xrange [-1.15:1.15]
set yrange [-1.15:1.15]
set xtics 0.5
set ytics 0.5
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.14
set tmargin at screen 0.96
unset key
unset grid
set zeroaxis lt 1 lw 0.5 lc rgb faint
@xtitle 'real part' @xplace
@ytitle 'imaginary part' @yplace
set object 1 circle at first 0,0 size first 1 fc rgb ink fs empty border lc rgb ink lw 0.9 front
plot data using 2:3 with points pt 7 ps (tokens > 8 ? 0.3 : 0.5) lc rgb (tokens > 8 ? translucent : blue), \
     '+' using (1):(0) every ::0::0 with points pt 4 ps 0.9 lw 1.3 lc rgb orange
unset output
