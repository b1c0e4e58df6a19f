#!/bin/sh
# make train-demo: the additive baseline, two variants of the delta rule and their write-only twins, trained by one recipe on the text
# in fixtures/ from equal starts, and compared; left in demo-train/.
set -eu
program=$1
tokens=$2
folder=${3:-demo-train}
data=fixtures/data
rm -rf "$folder"
mkdir -p "$folder"
for run in additive:delta ddl-scalar:delta ddl-scalar:write-only ddl-cc-ec:delta ddl-cc-ec:write-only; do
    variant=${run%:*} rule=${run#*:}
    echo "$variant, $rule:"
    "$program" train --recipe fixtures/recipes/shakespeare.json --set rule=$rule --config fixtures/recipes/shakespeare-config.json \
        --variant $variant --seed 1 --tokens "$tokens" --val $data/val.bin --save 200 --out "$folder/$variant-$rule"
done
"$program" compare --tokens $data/val.bin --sequences 64 "$folder"/*/checkpoint-600
