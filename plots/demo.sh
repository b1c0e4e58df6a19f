#!/bin/sh
# make demo: a full report on the trained checkpoint in fixtures/, left in demo/.
set -eu
program=$1
folder=${2:-demo}
rm -rf "$folder"
"$program" report --tokens fixtures/data/val.bin --sequences 32 --out "$folder" fixtures/models/ddl-cc-ec
echo "tables: $folder/tables   figures: $folder/figures   all numbers: $folder/report.json"
