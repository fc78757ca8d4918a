#!/usr/bin/env bash
# symbols.sh libllada.so   What the library shows to the world, and what it asks of it.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
library=$1
passed=0 failed=0
verdict() { # name, complaint or nothing
    if [ -z "$2" ]; then
        printf '%-48s ok\n' "$1"
        passed=$((passed + 1))
    else
        printf '%-48s FAILED\n%s\n' "$1" "$(sed 's/^/    /' <<<"$2")"
        failed=$((failed + 1))
    fi
}

declared=$(sed -n 's/^LLADA_API[^(]*[ *]\(llada_[a-z0-9_]*\)(.*/\1/p' include/llada.h | sort)
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort)
dynamic=$(readelf -dW "$library")

verdict "exports what llada.h declares, and no more" \
    "$(diff <(echo "$declared") <(echo "$exported") | sed -n 's/^</only declared:/p; s/^>/only exported:/p')"
# Declarations, one a line: comments and line breaks go.
declarations=$(sed 's|/\*.*\*/||; /\/\*/,/\*\//d' include/llada.h | tr '\n' ' ' | grep -oE 'LLADA_API [^;]*;')
fallible=$(grep -oE 'llada_status llada_[a-z0-9_]+\(' <<<"$declarations" | sed 's/.* //; s/(//' | sort)
verdict "every call that can fail takes an error, last" \
    "$(grep -E 'LLADA_API llada_status ' <<<"$declarations" | grep -vE 'llada_error \*error\);$' || true)"
tried=$(grep -oE 'REFUSES\(llada_[a-z0-9_]+' Tests/c/errors_tests.c | sed 's/.*(//' | sort -u)
verdict "errors_tests.c tries every call that can fail" "$(comm -23 <(echo "$fallible") <(echo "$tried"))"
verdict "exports functions only" "$(nm -D --defined-only "$library" | awk '$2 != "T" && $2 != "A"')"
verdict "is called libllada.so.0" \
    "$(grep -q 'SONAME.*\[libllada.so.0\]' <<<"$dynamic" || grep SONAME <<<"$dynamic" || echo 'has no SONAME')"
# The C library, the compiler's runtime, and nothing that a fresh system may lack: no Swift, no Foundation, no BLAS.
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic")
verdict "needs the C library only" \
    "$(grep -vE '^(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|ld-linux[a-z0-9-]*)\.so' <<<"$needed" || true)"
# That of RHEL 9: Debian 12 and Ubuntu 22.04 have newer ones.
verdict "runs with glibc 2.34" \
    "$(nm -D --undefined-only "$library" |
        awk -F '@GLIBC_' 'NF == 2 { split($2, version, "."); if (version[2] > 34) print }')"
# SwiftPM writes $ORIGIN, which is where the library is anyway; any other would be of the machine that built it.
verdict "looks for libraries nowhere else" \
    "$(grep -E '\((RPATH|RUNPATH)\)' <<<"$dynamic" | grep -vF '[$ORIGIN]' || true)"
verdict "stays in memory once loaded (nodelete)" "$(grep -q NODELETE <<<"$dynamic" || echo 'no NODELETE')"
segments=$(readelf -lW "$library")
verdict "has no executable stack" \
    "$(grep -E 'GNU_STACK .* RW  ' >/dev/null <<<"$segments" || grep GNU_STACK <<<"$segments")"
verdict "has no text relocations" "$(grep TEXTREL <<<"$dynamic" || true)"
verdict "has no segment to be written and executed" "$(grep -E 'LOAD .* RWE ' <<<"$segments" || true)"
# Full RELRO: all addresses are known when the library is loaded, and cannot be written afterwards.
verdict "binds all addresses on loading, to be read only" \
    "$(grep -q BIND_NOW <<<"$dynamic" || echo 'no BIND_NOW'; grep -q GNU_RELRO <<<"$segments" || echo 'no GNU_RELRO')"
writable=$(readelf -SW "$library" | sed 's/^ *\[ *[0-9]*\] //' | awk '$7 ~ /W/ {print $1}')
verdict "has constants where nothing can write" "$(grep -E '^\.rodata' <<<"$writable" || true)"

stripped=$(mktemp)
strip -o "$stripped" "$library" 2>/dev/null
size=$(stat -c %s "$stripped")
verdict "takes at most 8.5 MB, stripped" "$([ "$size" -le 8500000 ] || echo "$size bytes")"
# Swift's runtime brings one path, of those who built it.
verdict "names no place of the machine that built it" \
    "$(strings -n 5 "$library" | grep -F -e "$PWD" -e "$HOME/" -e /.build/ || true
    strings -n 5 "$library" | grep -E '/(home|root|tmp|opt|usr/src|build)/' | grep -vF /home/build-user/swift/ || true)"
printf '    (%s functions; %.1f MB, %.1f stripped; needs %s)\n' "$(wc -w <<<"$exported")" \
    "$(($(stat -Lc %s "$library") / 100000))e-1" "$((size / 100000))e-1" \
    "$(xargs <<<"$needed")"
rm -f "$stripped"
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
