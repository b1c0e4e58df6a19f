# ---- share of tokens in each regime of the gate, by depth ---------------------------------------------------------------------------
# data: blocks 0 (attention), 1 (MLP): layer, shares of identity, damped, projection, over-relaxed, reflection
set yrange [0:100]
set ytics 25
unset grid
set xrange [-0.6:layers-0.4]
set xtics 0,layer_step(layers)
n = 2; strip = legend_cm(2)+0.5
eval entry(0, 3, 0, 'identity', 'pt 5 ps 0.9', '', pale)
eval entry(1, 3, 0, 'damped', 'pt 5 ps 0.9', '', sky)
eval entry(2, 3, 0, 'projection', 'pt 5 ps 0.9', '', deep)
eval entry(3, 3, 0, 'over-relaxed', 'pt 5 ps 0.9', '', amber)
eval entry(4, 3, 0, 'reflection', 'pt 5 ps 0.9', '', rust)
set multiplot
do for [k = 0:1] {
    @panel
    set format x (k == 0 ? '' : '%g')
    if (k == 1) { unset label; @xtitle 'layer' @xplace }
    @ytitle 'tokens ('.percent.')' @yplace
    set label 1 (k == 0 ? 'attention' : 'MLP') @panel_title
    plot data index k using 1:(0):($1-0.4):($1+0.4):(0):(100*$2) with boxxyerror fs solid noborder lc rgb pale, \
         '' index k using 1:(0):($1-0.4):($1+0.4):(100*$2):(100*($2+$3)) with boxxyerror fs solid noborder lc rgb sky, \
         '' index k using 1:(0):($1-0.4):($1+0.4):(100*($2+$3)):(100*($2+$3+$4)) with boxxyerror fs solid noborder lc rgb deep, \
         '' index k using 1:(0):($1-0.4):($1+0.4):(100*($2+$3+$4)):(100*($2+$3+$4+$5)) with boxxyerror fs solid noborder lc rgb amber, \
         '' index k using 1:(0):($1-0.4):($1+0.4):(100*($2+$3+$4+$5)):(100*($2+$3+$4+$5+$6)) with boxxyerror fs solid noborder lc rgb rust
}
unset multiplot
unset output
