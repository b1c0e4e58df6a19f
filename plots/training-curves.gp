# ---- loss, gradient norm and learning rate of runs --------------------------------------------------------------------------------------
# data: three blocks a run: x, loss, least, greatest, gradient norm, least, greatest, learning rate; x, validation loss; x, loss of a spike
colours = blue.' '.orange.' '.green.' '.rust.' '.ink.' '.amber
points = '7 4 9 13 5 6'
single = runs == 1
hue(i) = word(colours,i%6+1)
mark(i) = int(word(points,i%6+1))
clip(i) = 1.*clips[i+1]
alike = 1
do for [i=1:runs-1] { if (clip(i) != clip(0)) { alike = 0 } }
facets = (runs+5)/6
n = 3*facets
in_facet(f) = runs-6*f < 6 ? runs-6*f : 6
rows = single ? 1 : (in_facet(0)+1)/2
strip = legend_cm(rows)
if (facets > 1) { between_cm = 0.62+line_cm*rows }
# What no number is known of is drawn from 0 to 1, empty.
bounds = 'if (bottom != bottom || top != top) { bottom = 0; top = 1 }'
bottom = NaN; top = NaN
do for [i=0:runs-1] { do for [b=0:2] { bottom = least(bottom,low(3*i+b,1)); top = most(top,high(3*i+b,1)) } }
@bounds
# Rates are small: in units of a power of ten, which their axis names.
rate = highest(0,0,8,8)
do for [i=1:runs-1] { rate = most(rate,high(3*i,8)) }
tenth = rate > tiny ? floor(log10(rate)) : 0
rates = tenth == 0 ? 'learning rate' : sprintf(tex ? 'learning rate / $10^{%d}$' : 'learning rate / 10^{%d}',tenth)
set xrange [axis_low(bottom,top):axis_high(bottom,top)]
if (top > bottom) { set xtics tick_step(top-bottom,5) } else { set xtics (bottom) }
set multiplot
do for [k = 0:n-1] {
    f = k/3; what = k%3; a = 6*f; z = 6*f+in_facet(f)-1
    unset label; unset arrow; unset logscale y
    set format y '%g'
    set ytics autofreq
    @panel
    set format x (what == 2 ? '%g' : '')
    if (k == n-1) { @xtitle x_name @xplace }
    @ytitle (what == 0 ? 'loss (nats)' : what == 1 ? 'gradient norm' : rates) @yplace
    down = (1-panel_top(k,n,strip))*height_cm-strip+line_cm*(rows-(single ? 1 : (in_facet(f)+1)/2))
    if (what == 0 && single) {
        eval entry(0, 4, 0, 'training', '', 'lw 1.2', blue)
        eval entry(1, 4, 0, 'validation', 'pt 7 ps 0.45', 'lw 1', orange)
        if (spikes > 0) { eval entry(2, 4, 0, 'spike', 'pt 6 ps 0.8 lw 1.2', '', ink) }
        if (clip(0) > 0) { eval entry(3, 4, 0, 'clipping', '', 'lw 1 dt 2', ink) }
    }
    if (what == 0 && !single) {
        do for [i = a:z] { eval entry(i-a, 2, down, word(names,i+1), sprintf('pt %d ps 0.45 lw 1.2',mark(i)), 'lw 1', hue(i)) }
    }
    bottom = NaN; top = NaN
    if (what == 0) { do for [i=a:z] { bottom = least(bottom,least(low(3*i,3),low(3*i+1,2))); top = most(top,most(high(3*i,4),high(3*i+1,2))) } }
    if (what == 1) { do for [i=a:z] { bottom = least(bottom,low(3*i,6)); top = most(top,high(3*i,7)) } }
    if (what == 1) { do for [i=a:z] { if (clip(i) > 0) { bottom = least(bottom,clip(i)); top = most(top,clip(i)) } } }
    if (what == 2) { do for [i=a:z] { bottom = least(bottom,low(3*i,8)/10.**tenth); top = most(top,high(3*i,8)/10.**tenth) } }
    @bounds
    if (what == 0) { set yrange [axis_low(bottom,top):axis_high(bottom,top)]; set ytics tick_step(span(bottom,top),4) }
    if (what == 1 && bottom > tiny) { eval log_axis }
    if (what == 1 && !(bottom > tiny)) { @sizes; set ytics tick_step(span(0,top),4) }
    if (what == 2) { @changes; set ytics tick_step(span(bottom < 0 ? bottom : 0,top),3) }
    c = what == 0 ? 2 : what == 1 ? 5 : 8
    plot for [i=a:z] data index 3*i using 1:(single && what < 2 ? column(c+1) : NaN):(single && what < 2 ? column(c+2) : NaN) \
             with filledcurves fs solid noborder lc rgb sky, \
         for [i=a:z] data index 3*i using 1:(what == 2 ? column(c)/10.**tenth : column(c)) with lines lw (single ? 1.2 : what == 0 ? 0.6 : 1) lc rgb hue(i), \
         for [i=a:z] (what == 1 && clip(i) > 0 ? clip(i) : NaN) with lines lw 1 dt 2 lc rgb (alike ? ink : hue(i)), \
         for [i=a:z] data index 3*i+1 using 1:(what == 0 ? $2 : NaN) with linespoints pt mark(i) ps 0.45 lw (single ? 1 : 1.2) \
             lc rgb (single ? orange : hue(i)), \
         for [i=a:z] data index 3*i+2 using 1:(what == 0 && single ? $2 : NaN) with points pt 6 ps 0.8 lw 1.2 lc rgb ink
}
unset multiplot
unset output
