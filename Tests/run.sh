#!/usr/bin/env bash
# run.sh suite...   Runs `make test-<suite>` for each, all of them whatever fails, and sums up.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
mkdir -p .build/test-logs

total_passed=0 total_failed=0 summary=
for suite in "$@"; do
    printf '\n== %s\n' "$suite"
    log=.build/test-logs/$suite.log
    started=$SECONDS
    ${MAKE:-make} --no-print-directory "test-$suite" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}

    # Three runners, three ways to count: Swift's, pytest's, and "N passed, N failed" of our own.
    counts=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /Test run with [0-9]+ tests?/    { for (i = 1; $i != "with"; i++) continue; ran = $(i + 1); swift = 1 }
        / Test .* failed after /          { broken += !/ Test run / }
        /^[0-9]+ passed, [0-9]+ failed$/ { passed = $1; failed = $3 }
        /(passed|failed|errors?) ?.* in [0-9.]+s/ {
            passed = failed = 0
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed = $(i - 1)
                if ($i ~ /^failed/ || $i ~ /^error/) failed += $(i - 1)
            }
        }
        END { if (swift) { passed = ran - broken; failed = broken } print passed + 0, failed + 0 }')
    passed=${counts% *} failed=${counts#* }
    # A suite that broke without counting a failure (it did not build, say) is one.
    [ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
    # And one that ran nothing has not passed.
    [ $((passed + failed)) -gt 0 ] || failed=1
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
    summary+=$(printf '  %-8s %5d passed, %d failed  (%d s)' "$suite" "$passed" "$failed" $((SECONDS - started)))$'\n'
done

printf '\n== all\n%s%d passed, %d failed\n' "$summary" "$total_passed" "$total_failed"
[ "$total_failed" = 0 ]
