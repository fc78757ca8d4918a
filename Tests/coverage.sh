#!/usr/bin/env bash
# coverage.sh PYTHON   Builds the library with counters, runs the tests from C and from Python against it, and says
# which lines and branches they reach: .build/coverage/report.txt, and page by page in .build/coverage/html.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 out=$PWD/.build/coverage
swift=${SWIFT:-swift}
tools=$(dirname "$(readlink -f "$(command -v "$swift")")")
LLADA_SANITIZE=coverage "$swift" build -c release --product llada --scratch-path "$out" \
    -Xswiftc -profile-generate -Xswiftc -profile-coverage-mapping \
    -Xcc -fprofile-instr-generate -Xcc -fcoverage-mapping
ln -sf libllada.so "$out/release/libllada.so.0"
rm -rf "$out/profiles"
# Processes add up in eight files, whatever their number.
export LLVM_PROFILE_FILE=$out/profiles/%8m.profraw
Tests/c/run.sh --coverage "$out/release" || true
LLADA_LIBRARY=$out/release/libllada.so PYTHONPATH=bindings/python "$python" -m pytest -q -p no:cacheprovider \
    Tests/python || true
rm -f default.profraw # of processes whose environment a test has cleared
"$tools/llvm-profdata" merge -sparse "$out"/profiles/*.profraw -o "$out/all.profdata"
report=("$out/release/libllada.so" -instr-profile="$out/all.profdata")
"$tools/llvm-cov" report "${report[@]}" Sources >"$out/report.txt"
"$tools/llvm-cov" export "${report[@]}" -summary-only Sources >"$out/summary.json"
"$tools/llvm-cov" show "${report[@]}" -format=html -output-dir="$out/html" Sources >"$out/html.log" 2>&1 || true
tail -n 1 "$out/report.txt"
