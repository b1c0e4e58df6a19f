#!/bin/sh
# Installs what BUILD holds into PREFIX, whose name may hold spaces, and uses it as another program would:
#   tests/install/install.sh BUILD PREFIX
# Under a sanitizer the shared library needs a program that has it too: then only what is installed is checked.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$1 prefix=$2 failed=0
fail() {
    echo "install: $1"
    failed=1
}
mkdir -p "$prefix.work" || exit 1
work=$(cd "$prefix.work" && pwd)
trap 'rm -rf "$work"' EXIT

# The names that are visible are those the public headers declare: functions as the compiler lists them, and objects.
for header in include/deltascope/*.h include/deltascope/measure/*.h; do
    echo "#include \"${header#include/}\""
done >"$work/headers.c"
gcc -std=c11 -D_GNU_SOURCE -Iinclude -fsyntax-only -aux-info "$work/functions" "$work/headers.c" ||
    fail "the headers do not compile"
{
    sed -n 's,^/\* include/deltascope/[^ ]* \*/ extern [^(]*[ *]\(ds_[a-z0-9_]*\) (.*,\1,p' "$work/functions"
    cat include/deltascope/*.h include/deltascope/measure/*.h | sed -n 's/^extern [^;(]*[ *]\(ds_[a-z0-9_]*\)[[;].*/\1/p'
} | sort -u >"$work/declared"
nm -D --defined-only "$build/libdeltascope.so" | awk '$3 !~ /^_/ { print $3 }' | sort -u >"$work/visible"
[ -s "$work/visible" ] || fail "nothing is visible in the shared library"
for name in $(comm -23 "$work/visible" "$work/declared"); do fail "$name is visible and not declared"; done
for name in $(comm -13 "$work/visible" "$work/declared"); do fail "$name is declared and not visible"; done
for name in blas_cpu_number blas_num_threads; do
    nm -D --defined-only "$build/deltascope" | grep -q " $name\$" || fail "OpenBLAS does not find the program's $name"
done

# The modes of files must not come from whoever installs.
(umask 077 && make -s --no-print-directory BUILD="$build" -o all prefix="$prefix" install >/dev/null) ||
    fail "make install failed"
for file in bin/deltascope lib/libdeltascope.a lib/libdeltascope.so lib/libdeltascope.so.0 lib/pkgconfig/deltascope.pc \
    include/deltascope/measure/gates.h share/man/man1/deltascope.1 share/bash-completion/completions/deltascope \
    share/zsh/site-functions/_deltascope share/fish/vendor_completions.d/deltascope.fish; do
    [ -e "$prefix/$file" ] || fail "$file is not there"
done
closed=$(find "$prefix" -type f ! -perm -444)
[ -z "$closed" ] || fail "not everybody may read $closed"
readelf -d "$prefix/lib/libdeltascope.so" | grep -q 'SONAME.*\[libdeltascope.so.0\]' ||
    fail "the soname is not libdeltascope.so.0"

# Each shell that is there completes an option, the words of one, and a word of a list behind a comma.
if command -v bash >/dev/null; then
    said=$(bash -c '. "$0"
        COMP_WORDS=(deltascope gates --preci) COMP_CWORD=2; _deltascope; echo "${COMPREPLY[@]}"
        COMP_WORDS=(deltascope gates --precision "") COMP_CWORD=3; _deltascope; echo "${COMPREPLY[@]}"
        COMP_WORDS=(deltascope ablate --modes = closed,op) COMP_CWORD=4; _deltascope; echo "${COMPREPLY[@]}"' \
        "$prefix/share/bash-completion/completions/deltascope" | tr '\n' ' ')
    [ "$said" = "--precision float double closed,open " ] || fail "bash completes to: $said"
fi
if command -v zsh >/dev/null; then
    completes() { timeout 120 zsh -f tests/install/complete.zsh "$prefix/share/zsh/site-functions" "$1" "$2"; }
    completes 'deltascope gates --preci' '--precision' && completes 'deltascope gates --precision ' 'double*float' &&
        completes 'deltascope ablate --modes closed,op' 'open' && completes 'deltascope plot --figure contro' 'controls' ||
        fail "zsh does not complete"
fi
if command -v fish >/dev/null; then
    said=$(HOME="$work" fish -c "source '$prefix/share/fish/vendor_completions.d/deltascope.fish'
        complete -C 'deltascope gates --preci'; complete -C 'deltascope gates --precision '
        complete -C 'deltascope ablate --modes closed,op'" | cut -f 1 | sort | tr '\n' ' ')
    [ "$said" = "--precision closed,open double float " ] || fail "fish completes to: $said"
fi

# A program with either library finds the loss that the installed program finds.
if ! nm "$build/libdeltascope.a" 2>/dev/null | grep -q '__asan_\|__tsan_\|__msan_'; then
    export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
    expected=$("$prefix/bin/deltascope" gates --quiet --json - --sequences 1 --seq-len 64 --tokens fixtures/data/val.bin \
        fixtures/models/ddl-cc-ec | sed -n 's/^    "loss": \([0-9.]*\),$/\1/p' | xargs printf '%.12f')
    eval "gcc tests/install/consumer.c -o '$work/shared' $(pkg-config --cflags --libs deltascope)" ||
        fail "linking with the shared library fails"
    found=$(LD_LIBRARY_PATH="$prefix/lib" "$work/shared") || fail "a program with the shared library fails"
    [ "$found" = "$expected" ] || fail "with the shared library a program finds the loss $found, deltascope $expected"
    eval "gcc tests/install/consumer.c -o '$work/static' $(pkg-config --cflags deltascope) '$prefix/lib/libdeltascope.a' \
        $(pkg-config --static --libs deltascope | sed 's/-ldeltascope//')" || fail "linking with the archive fails"
    found=$("$work/static") || fail "a program with the archive fails"
    [ "$found" = "$expected" ] || fail "with the archive a program finds the loss $found, deltascope $expected"
    moved=$(pkg-config --define-variable=prefix=/elsewhere --cflags-only-I deltascope)
    case $moved in -I/elsewhere/include*) ;; *) fail "moved elsewhere, the headers are looked for with $moved" ;; esac
fi

# Nothing of ours stays, and a stranger's file does.
echo >"$prefix/include/deltascope/strange.h"
make -s --no-print-directory BUILD="$build" prefix="$prefix" uninstall >/dev/null || fail "make uninstall failed"
left=$(find "$prefix" ! -type d)
[ "$left" = "$prefix/include/deltascope/strange.h" ] || fail "make uninstall leaves $left"
[ ! -e "$prefix/include/deltascope/measure" ] || fail "make uninstall leaves a folder of headers"

# Every folder by its own name, behind DESTDIR.
make -s --no-print-directory BUILD="$build" -o all DESTDIR="$work/stage" prefix=/p bindir=/b libdir=/l includedir=/i mandir=/m \
    pkgconfigdir=/pc bashcompdir=/bash zshcompdir=/zsh fishcompdir=/fish install >/dev/null ||
    fail "make install to a stage failed"
places=$(ls "$work/stage" | tr '\n' ' ')
[ "$places" = "b bash fish i l m pc zsh " ] || fail "the folders of a staged install are $places"
grep -q "$work" "$work/stage/pc/deltascope.pc" && fail "deltascope.pc names DESTDIR"
rm -rf "$prefix"
exit $failed
