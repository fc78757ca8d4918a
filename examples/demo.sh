#!/usr/bin/env bash
# demo.sh model   Three questions to the model, as `make demo` shows them.
set -euo pipefail
cd "$(dirname "$0")/.."
generate=.build/examples/generate
model=$1

if [ -z "$model" ]; then
    echo 'There is no checkpoint under examples/models; say which one to use:  make demo MODEL=path/to/checkpoint' >&2
    exit 1
fi

say() { # what is about to be seen
    if [ -t 1 ]; then printf '\n\033[2m%s\033[m\n\n' "$1"; else printf '\n%s\n\n' "$1"; fi
}
ask() { # options, question
    # In a terminal the canvas is redrawn; elsewhere every step is a line. stderr joins: one place, one order.
    if [ -t 1 ]; then
        "$generate" -m "$model" --delay 250 "$@"
    else
        printf '%s\n' "${@: -1}"
        "$generate" -m "$model" --trace "$@" 2>&1
        echo
    fi
}

say 'S mode: many tokens at once, then second thoughts.
▒ is a mask; an edit replaces a token that was already written.'
[ ! -t 1 ] || printf '%b' '\033[1;92mjust written\033[m  \033[30;103mjust edited\033[m  \033[33medited before\033[m  ' \
    '\033[36mdraft\033[m  settled\n\n'
ask -s 'What is 638 plus 4613?'
ask -s 'Leo has 12 apples. He buys 3 bags of 4 apples. Leo gives away 5. How many apples does Leo have now?'
say 'Q mode: fewer tokens at once, fewer second thoughts.'
ask -q 'Give JSON with keys name, age and pet. Ann is 31 years old and has a cat.'
