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
set colorbox user origin screen 0.87,0.2 size screen 0.03,0.68 noborder
set cbtics tick_step(top,4) scale 0.3 offset -0.6,0 tc rgb ink
set lmargin at screen 0.125
set rmargin at screen 0.845
set bmargin at screen 0.165
set tmargin at screen 0.92
@xtitle 'sublayer' @xplace
@ytitle 'sublayer' @yplace
set label 3 (tex ? 'mean $|k_a \cdot k_b|$' : 'mean |k_a·k_b|') at screen 0.985,screen 0.955 right tc rgb ink
plot data using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror fs solid noborder lc palette
unset output
