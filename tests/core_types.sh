#!/bin/sh
# LAPACK's last bits depend on the kernels that OpenBLAS picks for the processor. What the tests demand must hold with all of
# them: the given tests run once for every core type of the list that this processor can run.
#
# usage: DELTASCOPE=PROGRAM tests/core_types.sh TEST...
set -u
failed=

# can FLAG...: whether the processor has them all.
can() {
    for flag in "$@"; do
        grep -m1 '^flags' /proc/cpuinfo | grep -qw "$flag" || return 1
    done
}

# under TYPE TEST...: "own" is what OpenBLAS picks.
under() {
    type=$1
    shift
    if [ "$type" = own ]; then unset OPENBLAS_CORETYPE; else export OPENBLAS_CORETYPE="$type"; fi
    echo "==== core type $type"
    tests/run.sh "$@" || failed="$failed $type"
}

under own "$@"
if can avx2 fma; then under Haswell "$@"; fi
if can avx512f avx512cd avx512bw avx512dq avx512vl; then under SkylakeX "$@"; fi
if can pni; then under Prescott "$@"; fi
if [ -n "$failed" ]; then
    echo "FAILED under:$failed"
    exit 1
fi
echo "the numeric tests passed under every core type"
