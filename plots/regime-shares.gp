# ---- share of tokens in each regime of the gate, by depth ---------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, shares of identity, damped, projection, over-relaxed, reflection
set yrange [0:100]
set ytics 25
unset grid
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
set lmargin at screen 0.155
set rmargin at screen 0.975
set multiplot
do for [kind = 0:1] {
    set tmargin at screen (kind == 0 ? 0.80 : 0.445)
    set bmargin at screen (kind == 0 ? 0.515 : 0.16)
    set format x (kind == 0 ? '' : '%g')
    if (kind == 1) { @xtitle 'layer' @xplace }
    @ytitle 'tokens ('.percent.')' @yplace
    set label 1 (kind == 0 ? 'attention' : 'MLP') at graph 0,1.07 left tc rgb ink
    if (kind == 0) { set key at screen 0.985,screen 0.985 right top Left reverse vertical maxrows 2 samplen 0.8 width -3 } else { unset key }
    plot data index kind using 1:(0):($1-0.4):($1+0.4):(0):(100*$2) with boxxyerror fs solid noborder lc rgb pale title 'identity', \
         '' index kind using 1:(0):($1-0.4):($1+0.4):(100*$2):(100*($2+$3)) with boxxyerror fs solid noborder lc rgb sky title 'damped', \
         '' index kind using 1:(0):($1-0.4):($1+0.4):(100*($2+$3)):(100*($2+$3+$4)) with boxxyerror fs solid noborder lc rgb deep title 'projection', \
         '' index kind using 1:(0):($1-0.4):($1+0.4):(100*($2+$3+$4)):(100*($2+$3+$4+$5)) with boxxyerror fs solid noborder lc rgb amber title 'over-relaxed', \
         '' index kind using 1:(0):($1-0.4):($1+0.4):(100*($2+$3+$4+$5)):(100*($2+$3+$4+$5+$6)) with boxxyerror fs solid noborder lc rgb rust title 'reflection'
}
unset multiplot
unset output
