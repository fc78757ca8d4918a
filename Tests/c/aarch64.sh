#!/usr/bin/env bash
# Compiles the kernels for aarch64, with every warning an error; the last line counts them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

clang=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/clang
passed=0 failed=0
while read -r source; do
    if "$clang" --target=aarch64-linux-gnu -std=c11 -O1 -Wall -Wextra -Werror -isystem /usr/aarch64-linux-gnu/include \
        -ISources/Kernels -ISources/Kernels/include -fsyntax-only "$source"; then
        passed=$((passed + 1))
    else
        printf '%-48s FAILED\n' "$source for aarch64"
        failed=$((failed + 1))
    fi
done < <(find Sources/Kernels -name '*.c' | sort)
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
