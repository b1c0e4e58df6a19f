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
if (format eq 'svg') {
    set terminal svg size width_cm*px,height_cm*px fixed font 'Helvetica,10.5' linewidth 1.2 background rgb paper
}
if (format eq 'png') {
    dots = 300/2.54
    set terminal pngcairo size width_cm*dots,height_cm*dots font 'Helvetica,8' fontscale 300/72. linewidth 3.6 pointscale 3.6 background rgb paper
}
if (format eq 'pdf') {
    set terminal pdfcairo size width_cm cm,height_cm cm font 'Helvetica,8' fontscale 1 linewidth 1 background rgb paper
}
set output target
set border 3 lc rgb ink lw 0.6
set tics nomirror out scale 0.5 tc rgb ink
set key tc rgb ink samplen 1.5 spacing 1.1
set xlabel tc rgb ink offset 0,0.4
set ylabel tc rgb ink offset 0.8,0
set grid y lc rgb faint lw 0.4 lt 1
set palette defined (0 paper, 0.25 dark ? '#1D4E70' : '#C6DDEE', 0.6 dark ? '#3F8FC4' : '#5C9CCB', 1 dark ? '#D7ECFA' : '#08306B')
set cbrange [0:1]
unset colorbox
# At most nine labels on an axis of layers.
layer_step(n) = n <= 9 ? 1 : n <= 18 ? 2 : n <= 45 ? 5 : n <= 90 ? 10 : 20
