#!/usr/bin/env bash
# make.sh [folder]   The pictures of the README's gallery, into this folder or another. `make gallery` sets up what it
# needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=${1:-examples/gallery}
model=examples/models/tiny-2.1
question='Hana has 3 cards. She buys 3 bags of 2 cards. She loses 5. Hana finds 6 more. How many cards does '\
'Hana have in the end?'

"$python" -m llada.trace record $model "$question" --policy speedy --gen-length 64 -o "$out/run.jsonl"
"$python" -m llada.trace svg "$out/run.jsonl" "$out/run.svg"
"$python" -m llada.trace png "$out/run.jsonl" "$out/confidence.png"
"$python" -m llada.trace experts "$out/run.jsonl" "$out/experts.png"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m llada.trace record examples/models/tiny-2.2 'What is the sum of 9086 and 9112?' --policy levenshtein \
    --gen-length 64 -o "$scratch/insertion.jsonl"
"$python" -m llada.trace svg "$scratch/insertion.jsonl" "$out/insertion.svg"
"$python" examples/python/tutorial.py "$scratch" >/dev/null
cp "$scratch/tutorial.png" "$out/tutorial.png"

# The page as it looks at the fourth forward, if there is a browser to look with.
if command -v chromium >/dev/null; then
    "$python" -m llada.trace html "$out/run.jsonl" "$scratch/run.html"
    chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1040,720 --virtual-time-budget=2000 \
        --screenshot="$(realpath "$out")/page.png" "file://$scratch/run.html#4" 2>/dev/null
    "$python" examples/gallery/playground.py "$out"
fi
