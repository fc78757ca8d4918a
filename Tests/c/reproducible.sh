#!/usr/bin/env bash
# reproducible.sh   Builds the library twice, from nothing, in folders of different names: the files must be equal, byte
# for byte. Takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

built=()
for place in "$work/one" "$work/another folder/of a longer name"; do
    mkdir -p "$place"
    git ls-files -z -- Package.swift include Sources Tests examples/swift | xargs -0 cp --parents -t "$place"
    ${SWIFT:-swift} build -c release --product llada --package-path "$place" --cache-path "$place/cache" \
        >"$work/log" || {
        cat "$work/log"
        exit 1
    }
    built+=("$place/.build/release/libllada.so")
done
status='1 passed, 0 failed'
cmp "${built[@]}" || status='0 passed, 1 failed'
sha256sum -- "${built[@]}" | sed "s|$work/||"
echo "$status"
[ "$status" = '1 passed, 0 failed' ]
