# ---- what each source contributes to each read, a panel a checkpoint --------------------------------------------------------------------
# data: a block a checkpoint: source, read, share
n = checkpoints; strip = 0.45
between_cm = 0.95
set rmargin at screen 1-1.3/width_cm
unset grid
set border 0
set xrange [-0.5:reads-0.5]
set yrange [reads-0.5:-0.5]
set xtics 0,layer_step(reads)
set ytics 0,layer_step(reads)
set cbrange [0:1]
set cbtics 0.25 scale 0.3 offset -0.6,0 tc rgb ink
set multiplot
do for [k = 0:n-1] {
    unset label
    @panel
    set colorbox user origin screen 1-1.1/width_cm,panel_bottom(k,n,strip) size screen 0.25/width_cm,panel_cm(n,strip)/height_cm noborder
    set label 3 word(names,k+1) @panel_title
    if (k == n-1) { @xtitle 'source' @xplace }
    @ytitle 'read' @yplace
    plot data index k using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with boxxyerror fs solid noborder lc palette
}
unset multiplot
unset output
