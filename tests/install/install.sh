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

# Every visible name is declared in a public header, and every function declared there is visible.
shared=$(ls "$build"/libdeltascope.so.*.*.*)
visible=$(nm -D --defined-only "$shared" | awk '{ print $3 }' | grep -v '^_' | sort)
declared=$(for bits in 0 32 64; do
    for header in include/deltascope/*.h include/deltascope/measure/*.h; do
        gcc -E -P -Iinclude -D_GNU_SOURCE "$header"
    done
done | tr '\n' ' ' | sed 's/static inline[^{]*{[^}]*}/;/g' | grep -o '\bds_[a-z0-9_]*[[:space:]]*\(([^*]\|()\)' | sed 's/[ (].*//' | sort -u)
for name in $visible; do
    grep -q "\b$name\b" include/deltascope/*.h include/deltascope/measure/*.h include/deltascope/*.inc ||
        grep -q "REAL_NAME(${name%_f[36][24]})" include/deltascope/*.inc || fail "$name is visible and not declared"
done
for name in $declared; do
    grep -q "static inline.*\b$name(" include/deltascope/*.h include/deltascope/measure/*.h && continue
    grep -q "typedef.*(\*$name)\|define $name(" include/deltascope/*.h include/deltascope/measure/*.h && continue
    echo "$visible" | grep -qx "$name" || fail "$name is declared and not visible"
done

make -s --no-print-directory BUILD="$build" -o all prefix="$prefix" install >/dev/null || fail "make install failed"
find "$prefix" ! -type d | sort >"$prefix.list"
for file in bin/deltascope lib/libdeltascope.a lib/libdeltascope.so lib/libdeltascope.so.0 lib/pkgconfig/deltascope.pc \
    include/deltascope/measure/gates.h share/man/man1/deltascope.1 share/bash-completion/completions/deltascope \
    share/zsh/site-functions/_deltascope share/fish/vendor_completions.d/deltascope.fish; do
    [ -e "$prefix/$file" ] || fail "$file is not there"
done
for shell in bash zsh fish; do
    case $shell in
    bash) script=share/bash-completion/completions/deltascope ;;
    zsh) script=share/zsh/site-functions/_deltascope ;;
    fish) script=share/fish/vendor_completions.d/deltascope.fish ;;
    esac
    command -v $shell >/dev/null || continue
    $shell -n "$prefix/$script" || fail "$shell does not take its completion"
done
readelf -d "$prefix/lib/libdeltascope.so" | grep -q 'SONAME.*\[libdeltascope.so.0\]' || fail "the soname is not libdeltascope.so.0"

if ! nm "$build/libdeltascope.a" 2>/dev/null | grep -q '__asan_\|__tsan_\|__msan_'; then
    export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
    eval "gcc -D_GNU_SOURCE tests/install/consumer.c -o '$prefix.shared' $(pkg-config --cflags --libs deltascope)" || fail "linking fails"
    LD_LIBRARY_PATH="$prefix/lib" "$prefix.shared" || fail "a program with the shared library fails"
    eval "gcc -D_GNU_SOURCE tests/install/consumer.c -o '$prefix.static' $(pkg-config --cflags deltascope) '$prefix/lib/libdeltascope.a' \
        $(pkg-config --static --libs deltascope | sed 's/-ldeltascope//')" || fail "linking with the archive fails"
    "$prefix.static" || fail "a program with the archive fails"
    rm -f "$prefix.shared" "$prefix.static"
fi

make -s --no-print-directory BUILD="$build" prefix="$prefix" uninstall >/dev/null || fail "make uninstall failed"
left=$(find "$prefix" ! -type d)
[ -z "$left" ] || fail "make uninstall leaves $left"
[ ! -e "$prefix/include/deltascope" ] || fail "make uninstall leaves the headers' folder"
rm -rf "$prefix" "$prefix.list"
exit $failed
