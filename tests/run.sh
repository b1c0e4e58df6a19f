#!/bin/sh
# Runs test programs, as many at once as there are processors. What one prints comes out whole when it ends, under its name and
# the seconds it took; at the end stands which failed. Rooms go from the last to the first: the longest programs would else be
# left for the end, one processor idle. The programs' environment (DELTASCOPE) is the caller's.
#   tests/run.sh PROGRAM...
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export work
printf '%s\n' "$@" | sort -r | xargs -P "$(nproc)" -I{} sh -c '
    name=$(basename "$1")
    began=$(date +%s)
    "$1" >"$work/$name" 2>&1 || echo "$name" >>"$work/failed"
    flock "$work/lock" sh -c "echo \"== $name, $(($(date +%s) - began)) s\"; cat \"$work/$name\""
' sh {}
if [ -s "$work/failed" ]; then
    echo "FAILED: $(tr '\n' ' ' <"$work/failed")"
    exit 1
fi
echo "all test programs passed: $#"
