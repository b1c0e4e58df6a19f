# ---- coherence of the sublayers' directions --------------------------------------------------------------------------------------------
# data: sublayer, sublayer, mean |cosine|
set size ratio -1
unset grid
set border 0
set xrange [-0.5:sublayers-0.5]
set yrange [sublayers-0.5:-0.5]
set xtics 0,layer_step(sublayers)
set ytics 0,layer_step(sublayers)
top = largest > 1e-280 && largest < 1e290 ? largest : 1
set cbrange [0:top]
set colorbox user origin screen 1-1.1/width_cm,0.2 size screen 0.25/width_cm,0.68 noborder
set cbtics tick_step(top,4) scale 0.3 offset -0.6,0 tc rgb ink
set rmargin at screen 1-1.3/width_cm
set bmargin at screen 1.15/height_cm
set tmargin at screen 1-0.62/height_cm
@xtitle 'sublayer' @xplace
@ytitle 'sublayer' @yplace
set label 3 (tex ? 'mean $|k_a \cdot k_b|$' : 'mean |k_a·k_b|') at screen 1-0.1/width_cm,screen 1-0.3/height_cm right tc rgb ink
plot data using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror fs solid noborder lc palette
unset output
