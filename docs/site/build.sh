#!/usr/bin/env bash
# build.sh VENV   The site, into .build/docs: documents and the references of C and Python by Sphinx, that of Swift by
# DocC. `make docs` sets up the tools, and builds the library that the references are read from.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$(realpath "$1")
work=$PWD/.build/docs-work
rm -rf "$work" .build/docs
mkdir -p "$work/source" "$work/graphs"

export PYTHONPATH=bindings/python SITE_SOURCE=$work/source
"$venv/bin/python" docs/site/stage.py "$work/source"
"$venv/bin/sphinx-build" -q -W --keep-going -j 2 -b html -c docs/site -d "$work/trees" "$work/source" .build/docs
printf '<meta http-equiv="refresh" content="0; url=README.html">\n' >.build/docs/index.html

swift=$(dirname "$(readlink -f "$(command -v "${SWIFT:-swift}")")")
"$swift/swift-symbolgraph-extract" -module-name LLaDA -I .build/release/Modules -I Sources/Kernels/include \
    -target "$(uname -m)-unknown-linux-gnu" -minimum-access-level public -output-dir "$work/graphs"
"$swift/docc" convert docs/site/LLaDA.docc --additional-symbol-graph-dir "$work/graphs" \
    --output-path .build/docs/swift --hosting-base-path swift --fallback-display-name LLaDA \
    --fallback-bundle-identifier llada.LLaDA --warnings-as-errors
echo 'The site is in .build/docs:  python3 -m http.server -d .build/docs'
