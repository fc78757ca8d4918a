#!/usr/bin/env bash
# run.sh [--sanitize=address | --sanitize=thread | --valgrind | --coverage] [--only program] [folder of libllada.so]
# Builds and runs the C tests against a built library, or one of their programs; the last line counts them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

sanitize=
under=()                  # what runs the programs
plain=${SOAK_SECONDS:-yes} # "yes": the library as it is shipped, and all tests
case ${1:-} in
--sanitize=*)
    sanitize=$1 plain=
    shift
    ;;
--coverage)
    plain=
    shift
    ;;
--valgrind)
    plain=
    # What it finds goes to stderr, where a test may say nothing. It knows no AVX-512, and says so to whoever asks.
    under=(valgrind --quiet --error-exitcode=99)
    export TEST_SECONDS=1200
    shift
    ;;
esac
only=
if [ "${1:-}" = --only ]; then
    only=$2
    shift 2
fi
runtime=()
lib=$(cd "${1:-.build/release}" && pwd) || exit 1
out=.build/tests-c${sanitize:+-${sanitize#--sanitize=}}
mkdir -p "$out"

CC=${CC:-cc}
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Werror)
flags=(-O1 -g "${warnings[@]}" -Wno-missing-field-initializers -Iinclude -ITests/c)
if [ -n "$sanitize" ]; then
    # The library's instrumentation is of Swift's clang; the program that hosts it brings the runtime.
    CC=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")/clang
    flags+=(-DSANITIZED -fsanitize="${sanitize#--sanitize=}" -fno-omit-frame-pointer -fuse-ld=lld)
    # Children are forked while the library's threads sleep; stacks of 256 KiB do not suit instrumented code.
    # The runtime for threads knows those of libdispatch, and wants it.
    toolchain=$(dirname "$CC")/../lib/swift/linux
    [ "$sanitize" = --sanitize=address ] ||
        runtime=("-Wl,--no-as-needed" -L"$toolchain" -ldispatch -lBlocksRuntime "-Wl,-rpath,$toolchain")
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=0:allocator_may_return_null=1}
fi

export FIXTURES=Tests/Fixtures/conformance LLADA_LIBRARY=$lib/libllada.so.0 TEXT_MODEL=examples/models/tiny-2.1

passed=0 failed=0
verdict() { # name, 0 if good
    if [ "$2" = 0 ]; then
        printf '%-48s ok\n' "$1"
        passed=$((passed + 1))
    else
        printf '%-48s FAILED\n' "$1"
        failed=$((failed + 1))
    fi
}

# The header, in every dialect, by every compiler at hand, with not one warning.
if [ "$plain$only" = yes ]; then
    for compiler in gcc clang g++ clang++; do
        command -v $compiler >/dev/null || continue
        dialects='c99 c11'
        [ "${compiler%++}" = "$compiler" ] || dialects='c++11 c++20'
        for dialect in $dialects; do
            language=c
            [ "${dialect#c++}" = "$dialect" ] || language=c++
            for part in '' -DLLADA_EXPERIMENTAL; do
                "$compiler" -std="$dialect" -x "$language" "${warnings[@]}" -Wshadow -Wundef $part -Iinclude \
                    -fsyntax-only Tests/c/header.c
                verdict "llada.h, $compiler -std=$dialect${part:+, experimental}" $?
            done
        done
    done
    # The program at the header's top, as it stands there, but for the path.
    sed -n '/THE RULES/q; s/^ \*     //p' include/llada.h | sed "s|path/to/checkpoint|$TEXT_MODEL|" >"$out/example.c"
    "$CC" -std=c99 "${warnings[@]}" -Iinclude "$out/example.c" -o "$out/example" -L"$lib" -lllada -Wl,-rpath,"$lib" &&
        [[ $("$out/example") == *'Answer: 42' ]]
    verdict 'the example of llada.h answers' $?
    Tests/c/symbols.sh "$lib/libllada.so" >"$out/symbols.log"
    read -r good _ bad _ < <(tail -n 1 "$out/symbols.log")
    sed '$d' "$out/symbols.log"
    passed=$((passed + good)) failed=$((failed + bad))
    # AVX-VNNI, whose instruction AVX-512 has, too.
    kernels=Sources/Kernels
    if "$CC" -std=gnu11 -O2 -I$kernels -I$kernels/include Tests/c/kernel_bits.c $kernels/{dispatch,block_packing}.c \
        $kernels/packed_layout.c $kernels/{x86,arm,reference}/*.c -lm -o "$out/kernel_bits"; then
        "$out/kernel_bits" >"$out/kernel_bits.log"
        read -r good _ bad _ < <(tail -n 1 "$out/kernel_bits.log")
        sed '$d' "$out/kernel_bits.log"
        passed=$((passed + good)) failed=$((failed + bad))
    else
        verdict 'kernel_bits builds' 1
    fi
fi

# By section of the header; then what concerns all of it.
programs=(version kernels errors structs model describe model_checkpoints model_saving memory_limit text chat
    decoder stepping looking interfering interfering_rules text_stream policy branching many prefix_cache
    snapshots inside scoring random manners host_thread changed_files fork long_call plugin)
# What watches the library allocates itself, makes threads of its own, needs a larger stack, and is there once.
[ "$plain" != yes ] || programs+=(allocation oom adversity stacks blas)
# Those with threads; a sanitizer of threads has one of its own, which manners would count.
[ "$sanitize" != --sanitize=thread ] || programs=(decoder stepping branching many prefix_cache long_call scoring random)
# Where programs are fifty times slower: those that go through all of the library, and take no time.
[ ${#under[@]} = 0 ] || programs=(model text chat decoder interfering branching snapshots inside text_stream describe)
[ -z "${SOAK_SECONDS:-}" ] || programs=(random)
[ -z "$only" ] || programs=("$only")
export OPENBLAS_STUB_LIBRARY=$PWD/$out/libopenblas.so.0
"$CC" -std=c11 -O1 "${warnings[@]}" -shared -fPIC -Wl,-soname,libopenblas.so.0 Tests/c/openblas_stub.c \
    -o "$OPENBLAS_STUB_LIBRARY"
for program in "${programs[@]}"; do
    sources=("Tests/c/${program}_tests.c" Tests/c/harness.c Tests/c/decoders.c) arguments=()
    link=(-L"$lib" -lllada "-Wl,-rpath,$lib")
    case $program in
    plugin) sources=("Tests/c/${program}_tests.c") link=() ;;
    oom) sources=(Tests/oom/*.c Tests/c/harness.c) arguments=(short) ;;
    esac
    link+=("${runtime[@]}" -lm -ldl -pthread)
    if ! "$CC" -std=c11 "${flags[@]}" "${sources[@]}" -o "$out/$program" "${link[@]}"; then
        verdict "$program builds" 1
        continue
    fi
    printf '\n%s\n' "$program"
    "${under[@]}" "$out/$program" "${arguments[@]}" >"$out/$program.log" 2>&1
    status=$?
    counts=$(tail -n 1 "$out/$program.log")
    if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        sed '$d' "$out/$program.log"
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    else
        cat "$out/$program.log"
        status=1
    fi
    # Anything else that went wrong: it crashed outside its tests, say, or leaked.
    [ $status = 0 ] || [ "${BASH_REMATCH[2]:-0}" != 0 ] || verdict "$program ends well" 1
done

printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
