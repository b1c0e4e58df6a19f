#!/bin/sh
# LAPACK's last bits depend on the kernels that OpenBLAS picks for the processor. What the tests demand must hold with all of
# them: the given tests run once for every core type of CORE_TYPES that this processor can run.
#
# usage: DELTASCOPE=PROGRAM CORE_TYPES="own Haswell ..." tests/core_types.sh TEST...
set -u
failed=

# has FLAG...: whether the processor has them all.
has() {
    for flag in "$@"; do
        grep -m1 '^flags' /proc/cpuinfo | grep -qw "$flag" || return 1
    done
}

# runs TYPE: whether this processor runs the kernels of that type.
runs() {
    case $1 in
    own) ;;
    Haswell | Zen) has avx2 fma ;;
    SkylakeX | Cooperlake) has avx512f avx512cd avx512bw avx512dq avx512vl ;;
    Prescott) has pni ;;
    *) echo "unknown core type: $1" >&2 && exit 2 ;;
    esac
}

# under TYPE TEST...: "own" is what OpenBLAS picks.
under() {
    type=$1
    shift
    if [ "$type" = own ]; then unset OPENBLAS_CORETYPE; else export OPENBLAS_CORETYPE="$type"; fi
    echo "==== core type $type"
    tests/run.sh "$@" || failed="$failed $type"
}

for core in $CORE_TYPES; do
    if runs "$core"; then under "$core" "$@"; fi
done
if [ -n "$failed" ]; then
    echo "FAILED under:$failed"
    exit 1
fi
echo "the numeric tests passed under every core type"
