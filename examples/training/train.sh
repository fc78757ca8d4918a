#!/usr/bin/env bash
# train.sh RUNS    The whole recipe, stage after stage, into the folder RUNS. Broken off and called again, it goes on
# where it was.
set -euo pipefail
runs=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
stage() { # file, its folder, the folder it starts from
    echo; python "$1.py" --out "$runs/$2" ${3:+--start "$runs/$3/model"}
}
stage stage1_autoregressive  1-ar
stage stage2_block_diffusion 2-base    1-ar
stage stage3_sft             3-sft     2-base
stage stage4_confidence      4-cap     3-sft
stage stage5_editing         5-editing 3-sft
stage stage6_ebpo            6-ebpo    5-editing
stage stage7_levenshtein     7-levenshtein 5-editing
stage ablation_dpo           6-dpo     5-editing
