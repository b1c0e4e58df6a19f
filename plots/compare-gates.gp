# ---- mean gates of several checkpoints -----------------------------------------------------------------------------------------------
# data: a block a checkpoint: sublayer, mean gate, 5th and 95th percentile
set yrange [0:2]
set xrange [-0.6:sublayers-0.4]
set xtics 0,layer_step(sublayers)
@xtitle 'sublayer' @xplace
@ytitle 'gate '.beta @yplace
set lmargin at screen 0.155
set rmargin at screen 0.975
set bmargin at screen 0.16
set tmargin at screen 0.83
set key at screen 0.985,screen 0.985 right top Left reverse vertical maxrows 2 noenhanced
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
aside(i) = (i-(checkpoints-1)/2.)*0.6/checkpoints
# The legend has room for six.
name(i) = i < 6 ? word(names,i+1) : ''
plot for [i=0:checkpoints-1] data index i using ($1+aside(i)):3:(0):($4-$3) with vectors nohead lw 0.8 lc rgb hue(i) notitle, \
     for [i=0:checkpoints-1] data index i using ($1+aside(i)):2 with points pt mark(i) ps 0.5 lw 1.2 lc rgb hue(i) title name(i)
unset output
