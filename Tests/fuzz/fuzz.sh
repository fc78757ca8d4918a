#!/usr/bin/env bash
# fuzz.sh build                     the targets under libFuzzer, against the library that `make fuzz` builds
# fuzz.sh run SECONDS [target...]   runs all targets, or these, for a share of the time each; notes it in RUNS.tsv
# fuzz.sh minimise [target...]      replaces the corpus in the repository by the fewest inputs that reach as much
# fuzz.sh replay [--sanitize=address] [folder of libllada.so]   the corpus, without libFuzzer; the last line counts it
# fuzz.sh coverage [target...]      which lines of its loader a target's corpus reaches (`make fuzz-coverage`)
#
# What grows is kept in .build/fuzz/corpus, what is found in .build/fuzz/findings; a finding, once understood, becomes a
# file of the corpus.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

all=(calls chat chat_template config fp8 gguf packed prefix_cache safetensors shard_index snapshot text_stream tokenizer
    trace)
toolchain=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")
python=${PYTHON:-python3}
kept=Tests/fuzz/corpus grown=.build/fuzz/corpus findings=.build/fuzz/findings
sources=()
for source in Tests/fuzz/*.c; do
    case $source in */libfuzzer.c | */mutator.c | */replay.c) ;; *) sources+=("$source") ;; esac
done
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Werror -Wno-missing-field-initializers)
# Swift's stacks are shallow beside what a detector of use after return makes of them.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=0:allocator_may_return_null=1}

# compile OUT FOLDER-OF-LIBRARY flag...
compile() {
    local out=$1 lib
    lib=$(cd "$2" && pwd) || return
    shift 2
    "$@" -std=c11 -g -O1 "${warnings[@]}" -Iinclude "${sources[@]}" -o "$out" -L"$lib" -lllada -Wl,-rpath,"$lib"
}

build() {
    mkdir -p .build/fuzz
    compile .build/fuzz/fuzz .build/fuzz/release "$toolchain/clang" -fsanitize=address,fuzzer -fuse-ld=lld \
        Tests/fuzz/libfuzzer.c Tests/fuzz/mutator.c
}

# The longest input of a target, in bytes.
longest() {
    case $1 in calls | text_stream) echo 2048 ;; snapshot | prefix_cache) echo 4096 ;; *) echo 16384 ;; esac
}

# fuzz TARGET flag... folder...
fuzz() {
    local target=$1 dictionary=()
    shift
    [ ! -e "Tests/fuzz/dictionaries/$target.dict" ] || dictionary=(-dict="Tests/fuzz/dictionaries/$target.dict")
    # The time is the clock's, in a build some ten times as slow, on a machine with other work to do.
    .build/fuzz/fuzz --target="$target" "${dictionary[@]}" -max_len="$(longest "$target")" -timeout=60 \
        -report_slow_units=60 -rss_limit_mb=1536 -malloc_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$findings/$target-" "$@"
}

trace() { PYTHONPATH=bindings/python "$python" Tests/fuzz/trace.py "$@"; }

# run_one TARGET SECONDS   A finding ends libFuzzer; it begins again until the time is over.
run_one() {
    local target=$1 end=$((SECONDS + $2)) log=.build/fuzz/logs/$1.log executions=0 seconds=0 before found count used
    mkdir -p "$kept/$target" "$grown/$target" "$findings" .build/fuzz/logs
    before=$(find "$findings" -name "$target-*" | wc -l)
    TIMEFORMAT='%U %S'
    while [ $SECONDS -lt $end ]; do
        if [ "$target" = trace ]; then
            command=(trace run $((end - SECONDS)) "$findings/trace-" "$grown/trace" "$kept/trace")
        else
            command=(fuzz "$target" -max_total_time=$((end - SECONDS)) "$grown/$target" "$kept/$target")
        fi
        used=$({ time "${command[@]}" >"$log" 2>&1; } 2>&1 | tail -n 1)
        count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
        executions=$((executions + ${count:-0}))
        seconds=$(awk -v used="$used" -v sum="$seconds" 'BEGIN { split(used, t, " "); print sum + t[1] + t[2] }')
        [ "${count:-0}" -gt 0 ] || break
    done
    found=$(($(find "$findings" -name "$target-*" | wc -l) - before))
    printf '%s\t%s\t%.0f\t%d\t%d\n' "$(date -u +%F)" "$target" "$seconds" "$executions" "$found" >>Tests/fuzz/RUNS.tsv
    printf '%-14s %7d executions in %.0f s of CPU, %d found\n' "$target" "$executions" "$seconds" "$found"
}

run() {
    local seconds=${1:-0}
    shift
    [ "$seconds" -gt 0 ] || { echo 'fuzz.sh run SECONDS [target...]' >&2 && return 2; }
    [ $# -gt 0 ] || set -- "${all[@]}"
    for target in "$@"; do run_one "$target" $(((seconds + $# - 1) / $#)); done
    [ -z "$(ls "$findings")" ] || echo "Findings are in $findings."
}

minimise() {
    [ $# -gt 0 ] || set -- "${all[@]}"
    for target in "$@"; do
        mkdir -p "$kept/$target" "$grown/$target"
        rm -rf .build/fuzz/minimal && mkdir -p .build/fuzz/minimal
        if [ "$target" = trace ]; then
            trace minimise .build/fuzz/minimal "$kept/trace" "$grown/trace" || return
        else
            # By edges alone: how often one was gone through would take thrice as many inputs.
            fuzz "$target" -set_cover_merge=1 -use_counters=0 -rss_limit_mb=0 .build/fuzz/minimal "$kept/$target" \
                "$grown/$target" >.build/fuzz/logs/minimise.log 2>&1 ||
                { tail -n 3 .build/fuzz/logs/minimise.log && return 1; }
        fi
        # What was found stays.
        find "$kept/$target" -type f ! -name 'found-*' -delete
        cp .build/fuzz/minimal/* "$kept/$target"
        rm -rf "${grown:?}/$target"
        printf '%-14s %5d inputs, %7d bytes\n' "$target" "$(find "$kept/$target" -type f | wc -l)" \
            "$(cat "$kept/$target"/* | wc -c)"
    done
}

replay() {
    local cc=("${CC:-cc}") out=.build/fuzz-replay passed=0 failed=0 lib
    if [ "${1:-}" = --sanitize=address ]; then
        cc=("$toolchain/clang" -fsanitize=address -fno-omit-frame-pointer -fuse-ld=lld)
        out=.build/fuzz-replay-address
        shift
    fi
    lib=${1:-.build/release}
    compile "$out" "$lib" "${cc[@]}" Tests/fuzz/replay.c || return
    for target in "${all[@]}"; do
        local inputs=("$kept/$target"/*) broken=()
        if [ "$target" = trace ]; then command=(trace replay); else command=("$out" "$target"); fi
        # All in one process; if that fails, one by one.
        if ! "${command[@]}" "${inputs[@]}" >/dev/null 2>&1; then
            for input in "${inputs[@]}"; do
                "${command[@]}" "$input" >/dev/null 2>&1 || broken+=("$input")
            done
            [ ${#broken[@]} -gt 0 ] || broken=("all of $target in one process")
        fi
        printf '%-14s %5d inputs, %d failed\n' "$target" ${#inputs[@]} ${#broken[@]}
        for input in "${broken[@]}"; do printf '    %s\n' "$input"; done
        passed=$((passed + ${#inputs[@]} - ${#broken[@]})) failed=$((failed + ${#broken[@]}))
    done
    printf '%d passed, %d failed\n' $passed $failed
    [ $failed = 0 ]
}

coverage() {
    local lib=.build/coverage/release out=.build/coverage/replay profiles=.build/coverage/profiles
    compile "$out" "$lib" "${CC:-cc}" Tests/fuzz/replay.c || return
    mkdir -p "$profiles"
    [ $# -gt 0 ] || set -- "${all[@]}"
    for target in "$@"; do
        [ "$target" != trace ] || continue
        rm -f "$profiles/$target".*
        # Each input in a process of its own could not add to a profile that a crash leaves behind.
        LLVM_PROFILE_FILE=$profiles/$target.profraw "$out" "$target" "$kept/$target"/* || return
        "$toolchain/llvm-profdata" merge -o "$profiles/$target.profdata" "$profiles/$target.profraw" || return
        "$toolchain/llvm-cov" export -format=lcov -instr-profile="$profiles/$target.profdata" "$lib/libllada.so" \
            >"$profiles/$target.lcov" || return
    done
    "$python" Tests/fuzz/coverage.py "$profiles" "$@"
}

case ${1:-} in
build | run | minimise | replay | coverage) command=("$@") ;;
*) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" && exit 2 ;;
esac
# In one line: nothing of this file is read afterwards, so it may be edited meanwhile.
"${command[@]}" && exit || exit
