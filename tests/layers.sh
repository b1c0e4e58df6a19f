#!/bin/sh
# The layer table, enforced: a room includes the public headers of lower rooms and its own private headers, nothing else;
# a library's header stays in the room that wraps it. Prints every breach; exit status 1 when there is one.
set -u
cd "$(dirname "$0")/.." || exit 1

# room | the rooms whose public headers it may include (base is allowed everywhere)
table='base|
num|
io|
spectra|
stats|
delta|spectra num
model|io num delta gradient
verify|io num stats spectra delta model gradient
report|io stats spectra delta model gradient
library|io num spectra
analysis|io num stats spectra delta model gradient verify report library'

# header pattern | the only rooms that may include it
owners='cblas.h|num
lapacke.h|spectra
arb.h|spectra
acb|spectra
arf|spectra
mag.h|spectra
flint/|spectra
gmp.h|spectra
gsl/|stats
pcre2.h|io
openssl/|io report
zlib.h|io
zip.h|report
jansson.h|io report analysis model'

breaches=$(
    echo "$table" | while IFS='|' read -r room allowed; do
        folder=src/$room
        [ "$room" = analysis ] && folder=analysis
        [ -d "$folder" ] || continue
        grep -n '^#include' "$folder"/*.[ch] 2>/dev/null | while IFS=: read -r file line text; do
            header=$(echo "$text" | sed 's/^#include *[<"]//; s/[>"].*//')
            case $header in
            deltascope/*)
                wanted=$(basename "$header" .h)
                case " base $room $allowed " in
                *" $wanted "*) ;;
                *) echo "$file:$line: $room may not include $header" ;;
                esac ;;
            *)
                case $text in
                *'"'*) [ -f "$folder/$header" ] || echo "$file:$line: $header is not a private header of $room" ;;
                esac
                echo "$owners" | while IFS='|' read -r pattern rooms; do
                    case $header in
                    "$pattern"*)
                        case " $rooms " in
                        *" $room "*) ;;
                        *) echo "$file:$line: only $rooms may include $header" ;;
                        esac ;;
                    esac
                done ;;
            esac
        done
    done
)
if [ -n "$breaches" ]; then
    echo "$breaches"
    exit 1
fi
echo "layers: every room includes only lower rooms"
