#!/usr/bin/env bash
# Compiles the kernels for aarch64, with every warning an error, and runs kernel_bits.c with them under an emulator, as
# CPUs with all, some and none of the instructions that are asked for; the last line counts what passed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

clang=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/clang
out=.build/tests-aarch64
mkdir -p "$out"
passed=0 failed=0
verdict() { # name, 0 if good
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
    else
        printf '%-48s FAILED\n' "$1"
        failed=$((failed + 1))
    fi
}

objects=()
while read -r source; do
    object=$out/${source//\//_}.o
    "$clang" --target=aarch64-linux-gnu -std=gnu11 -O2 -Wall -Wextra -Werror \
        -isystem /usr/aarch64-linux-gnu/include -ISources/Kernels -ISources/Kernels/include -c "$source" -o "$object"
    verdict "$source for aarch64" $?
    case $source in
    */arm/* | */reference/* | */dispatch.c | */packed_layout.c | */block_packing.c | *_bits.c) objects+=("$object") ;;
    esac
done < <(find Sources/Kernels -name '*.c' | sort; echo Tests/c/kernel_bits.c)

aarch64-linux-gnu-gcc -static "${objects[@]}" -lm -o "$out/kernel_bits"
verdict 'kernel_bits links' $?
# What each CPU has, the best first: see kernel_bits.c.
while read -r cpu kernels; do
    printf '\n%s\n' "$cpu"
    # shellcheck disable=SC2086 # one word for each
    results=$(qemu-aarch64 -cpu "$cpu" "$out/kernel_bits" $kernels)
    printf '%s\n' "$results"
    if [[ ${results##*$'\n'} =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    else
        verdict "kernel_bits as $cpu" 1
    fi
done <<'END'
max i8mm:integers,bf16 neon:integers,bf16 portable
neoverse-n1 neon:integers,bf16 portable
cortex-a76 neon:integers,bf16 portable
cortex-a72 neon portable
a64fx neon portable
END
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
