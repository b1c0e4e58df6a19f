#!/bin/sh
# make demo: audits the trained checkpoint in fixtures/ and leaves results, tables and figures in demo/.
set -eu
program=$1
folder=${2:-demo}
checkpoint=fixtures/models/ddl-cc-ec
tokens=fixtures/data/val.bin
rm -rf "$folder"
echo "== inspect: what is in the checkpoint"
"$program" inspect --out "$folder" "$checkpoint" | tail -n 12
echo "== gates: how they are used"
"$program" gates --tokens "$tokens" --out "$folder" "$checkpoint"
echo "== spectrum: eigenvalues of the shortcut, single and over depth"
"$program" spectrum --tokens "$tokens" --sequences 8 --out "$folder" "$checkpoint"
echo "== ablate: what each gate is worth"
"$program" ablate --tokens "$tokens" --out "$folder" "$checkpoint"
echo
echo "results: $folder/*.json   tables: $folder/tables   figures: $folder/figures"
