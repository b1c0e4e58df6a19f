# ---- the style all figures share: colour-blind safe (Okabe and Ito 2008), told apart by shape as well, legible in grey ------------
if (!exists("format")) format = 'svg'
if (!exists("target")) target = id.'.'.format
set encoding utf8
height_cm = width_cm*aspect
ink    = dark ? '#E6E6E6' : '#1A1A1A'
paper  = dark ? '#16191D' : '#FFFFFF'
faint  = dark ? '#4A5058' : '#C4C8CC'
blue   = dark ? '#56B4E9' : '#0072B2'
orange = dark ? '#F0A04B' : '#D55E00'
# Sizes are those of print: 8 pt text at the width asked for.
px = 96/2.54
green  = dark ? '#4CC9A0' : '#007A5A'
sky    = dark ? '#2C6E9B' : '#9CCBE8'
deep   = dark ? '#8CCBF2' : '#1F5F93'
pale   = dark ? '#3A4048' : '#D5D8DB'
amber  = dark ? '#F2C14E' : '#F2C35B'
plum   = dark ? '#D8A0C8' : '#A64D8A'
rust   = dark ? '#E07B39' : '#8C2D04'
translucent = dark ? '#5056B4E9' : '#600072B2' # alpha first
if (format eq 'svg') {
    set terminal svg size width_cm*px,height_cm*px fixed font 'Helvetica,10.5' linewidth 1.2 background rgb paper
}
if (format eq 'png') {
    dots = 300/2.54
    set terminal pngcairo size width_cm*dots,height_cm*dots font 'Helvetica,8' fontscale 300/96. linewidth 3.1 pointscale 3.1 background rgb paper
}
if (format eq 'pdf') {
    set terminal pdfcairo size width_cm cm,height_cm cm font 'Helvetica,8' fontscale 0.75 linewidth 1 pointscale 0.75 background rgb paper
}
tex = format eq 'tex'
if (tex) {
    eval sprintf('set terminal tikz size %gcm,%gcm fontscale 0.8', width_cm, height_cm)
}
percent = tex ? '\%' : '%'
# LaTeX sets Greek letters and powers in mathematics of its own.
beta    = tex ? '$\beta$' : 'β'
alpha   = tex ? '$\alpha$' : 'α'
minus_v = tex ? '$k^{T} X - v^{T}$' : 'kᵀX − vᵀ'
power   = tex ? '$10^{%T}$' : '10^{%T}'
if (strlen(target) > 0) set output target
set border 3 lc rgb ink lw 0.6
set tics nomirror out scale 0.5 tc rgb ink
set xtics offset 0,(format eq 'svg' ? 0.35 : 0) # svg spaces lines more widely
unset key
set grid y lc rgb faint lw 0.4 lt 1
set palette defined (0 paper, 0.25 dark ? '#1D4E70' : '#C6DDEE', 0.6 dark ? '#3F8FC4' : '#5C9CCB', 1 dark ? '#D7ECFA' : '#08306B')
set cbrange [0:1]
unset colorbox
# ---- places, in centimetres: letters keep their size whatever the picture's ---------------------------------------------------------
set lmargin at screen 1.32/width_cm
set rmargin at screen 1-0.24/width_cm
line_cm = 0.38
below_cm = 1.02 # tick labels and the title of the x axis
between_cm = 0.62
legend_cm(rows) = 0.14+line_cm*rows
# Panels one above another: number k of n, below a strip of `strip` cm. As in: @panel (each sets k, n and strip).
panel_cm(n,strip) = (height_cm-strip-below_cm-(n-1)*between_cm)/n
panel_top(k,n,strip) = 1-(strip+k*(panel_cm(n,strip)+between_cm))/height_cm
panel_bottom(k,n,strip) = panel_top(k,n,strip)-panel_cm(n,strip)/height_cm
panel = 'set tmargin at screen panel_top(k,n,strip); set bmargin at screen panel_bottom(k,n,strip)'
panel_title = "at graph 0,graph 1 left offset 0,character 0.55 tc rgb ink"
# The legend is made of labels at fixed places: gnuplot's own takes letters for wider in one format than in another, and then covers
# what is drawn. Entry i (from 0) of a legend in `columns` columns whose first line is `down` cm below the top:
# eval entry(i, columns, down, 'text', 'pt 7 ps 0.5', 'lw 1.2 dt 2', colour); mark or line may be '', and the text begins where both are.
entry_x(i,columns) = (1.32+(i%columns)*(width_cm-1.4)/columns)/width_cm
entry_y(i,columns,down) = 1-(down+0.26+line_cm*(i/columns))/height_cm
entry_line(i,columns,down,line,colour) = line eq '' ? '' : sprintf("set arrow %d from screen %g,%g to screen %g,%g nohead %s lc rgb '%s'; ", \
    100+i, entry_x(i,columns), entry_y(i,columns,down), entry_x(i,columns)+0.42/width_cm, entry_y(i,columns,down), line, colour)
entry_mark(i,columns,down,mark,colour) = mark eq '' ? '' : sprintf("set label %d '' at screen %g,%g point %s lc rgb '%s'; ", \
    100+i, entry_x(i,columns)+0.21/width_cm, entry_y(i,columns,down), mark, colour)
entry_gap(mark,line) = mark eq '' && line eq '' ? 0 : 0.54
entry(i,columns,down,text,mark,line,colour) = entry_line(i,columns,down,line,colour).entry_mark(i,columns,down,mark,colour). \
    sprintf("set label %d '%s' at screen %g,%g left noenhanced tc rgb ink", 200+i, text, entry_x(i,columns)+entry_gap(mark,line)/width_cm, entry_y(i,columns,down))
# Axis titles are labels at fixed places: terminals disagree on where a title goes, and would cut it. As in:
# @xtitle 'layer' @xplace   and   @ytitle 'gate β' @yplace
xtitle = 'set label 91'
xplace = 'at graph 0.5,screen 0.24/height_cm center tc rgb ink'
ytitle = 'set label 92'
yplace = 'at screen 0.25/width_cm,graph 0.5 center rotate tc rgb ink'

# ---- axes ---------------------------------------------------------------------------------------------------------------------------
# At most nine labels on an axis of layers.
layer_step(n) = n <= 9 ? 1 : n <= 18 ? 2 : n <= 45 ? 5 : n <= 90 ? 10 : 10*ceil(n/90.)
# 1, 2 or 5 times a power of ten that divides `range` into at most `most` steps.
raw_step(range,most) = 10.**floor(log10(1.*range/most))
tick_step(range,most) = (r = raw_step(range,most), q = range/most/r, q <= 1 ? r : q <= 2 ? 2*r : q <= 5 ? 5*r : 10*r)
# gnuplot fails on a range without width and on a column without numbers. Ranges are made of low(block,column) and high(block,column),
# written above with the data: NaN where a column has no number.
least(a,b) = a != a || b < a ? b : a
most(a,b) = a != a || b > a ? b : a
lowest_of(b,c,C) = c > C ? NaN : least(low(b,c),lowest_of(b,c+1,C))
highest_of(b,c,C) = c > C ? NaN : most(high(b,c),highest_of(b,c+1,C))
# Over blocks b to B and columns c to C.
lowest(b,B,c,C) = b > B ? NaN : least(lowest_of(b,c,C),lowest(b+1,B,c,C))
highest(b,B,c,C) = b > B ? NaN : most(highest_of(b,c,C),highest(b+1,B,c,C))
# From a to b with some room; about one value alone as much as it is large.
size(a,b) = most(abs(a),abs(b))
tiny = 1e-280
flat(a,b) = size(a,b) < tiny || b-a <= 1e-9*size(a,b)
span(a,b) = size(a,b) < tiny ? 1. : flat(a,b) ? size(a,b) : b-a
axis_low(a,b) = a-0.06*span(a,b)
axis_high(a,b) = b+(flat(a,b) ? 1 : 0.06)*span(a,b)
# An axis of changes holds 0, one of sizes begins there.
changes = 'set yrange [bottom < 0 ? axis_low(bottom,top) : 0:axis_high(bottom,top)]'
sizes = 'set yrange [0:axis_high(0,top)]'
# bottom to top, both above 0, logarithmic: powers of ten, or digits between them where there are few of those.
power_axis = 'set logscale y; set yrange [bottom/1.5:top*1.5]; set format y power'
fine_axis = 'set logscale y; set yrange [bottom/1.5:top*1.5]; set format y "%g"; set ytics (1); digits = top > 30*bottom ? "1 3" : "1 2 5"; do for [decade = floor(log10(bottom))-1:ceil(log10(top))] { do for [digit in digits] { set ytics add (digit*10.**decade) } }'
log_axis = 'if (top > 300*bottom) { eval power_axis } else { eval fine_axis }'
