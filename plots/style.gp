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
set key tc rgb ink samplen 1.5 spacing 1.1
set grid y lc rgb faint lw 0.4 lt 1
set palette defined (0 paper, 0.25 dark ? '#1D4E70' : '#C6DDEE', 0.6 dark ? '#3F8FC4' : '#5C9CCB', 1 dark ? '#D7ECFA' : '#08306B')
set cbrange [0:1]
unset colorbox
# At most nine labels on an axis of layers.
layer_step(n) = n <= 9 ? 1 : n <= 18 ? 2 : n <= 45 ? 5 : n <= 90 ? 10 : 20
# 1, 2 or 5 times a power of ten that divides `range` into at most `most` steps.
raw_step(range,most) = 10**floor(log10(range/most))
tick_step(range,most) = (r = raw_step(range,most), q = range/most/r, q <= 1 ? r : q <= 2 ? 2*r : q <= 5 ? 5*r : 10*r)
# Axis titles are labels at fixed places: terminals disagree on where a title goes, and would cut it. As in:
# @xtitle 'layer' @xplace   and   @ytitle 'gate β' @yplace
xtitle = 'set label 91'
xplace = 'at graph 0.5,screen 0.035 center tc rgb ink'
ytitle = 'set label 92'
yplace = 'at screen 0.03,graph 0.5 center rotate tc rgb ink'
