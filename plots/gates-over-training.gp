# ---- mean gate of every sublayer over updates -----------------------------------------------------------------------------------------
# data: a block a run: x, sublayer, from, to, mean gate
unset grid
set border 0
# One scale for all panels: the numbers there are, and at least a tenth of the gate's range.
bottom = NaN; top = NaN; from = NaN; to = NaN
do for [i=0:runs-1] {
    bottom = least(bottom,low(i,5)); top = most(top,high(i,5))
    from = least(from,low(i,3)); to = most(to,high(i,4))
}
if (bottom != bottom) { bottom = 0; top = 1 }
if (from != from || to != to) { from = 0; to = 1 }
middle = bottom/2.+top/2.
if (top-bottom < 0.2) { bottom = middle-most(0.1,1e-6*abs(middle)); top = middle+most(0.1,1e-6*abs(middle)) }
set cbrange [bottom:top]
set xrange [from:to > from ? to : from+span(from,from)]
if (to > from) { set xtics tick_step(to-from,5) } else { set xtics (from) }
set yrange [-0.5:sublayers-0.5]
set ytics 0,layer_step(sublayers)
set rmargin at screen 1-1.3/width_cm
n = runs
strip = 0.62
if (runs > 1) { between_cm = 0.85 }
set colorbox user origin screen 1-1.1/width_cm,screen panel_bottom(n-1,n,strip) \
    size screen 0.25/width_cm,screen panel_top(0,n,strip)-panel_bottom(n-1,n,strip) noborder
set cbtics tick_step(top-bottom,4) scale 0.3 offset -0.6,0 tc rgb ink
set multiplot
do for [k = 0:n-1] {
    unset label
    if (k == 0) { set label 3 'mean gate '.beta at screen 1-0.1/width_cm,screen 1-0.3/height_cm right tc rgb ink }
    if (k > 0) { unset colorbox }
    @panel
    set format x (k == n-1 ? '%g' : '')
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle 'sublayer' @yplace
    if (runs > 1) { set label 4 word(names,k+1) @panel_title noenhanced }
    plot data index k using 1:2:3:4:($2-0.5):($2+0.5):5 with boxxyerror fs solid noborder lc palette
}
unset multiplot
unset output
