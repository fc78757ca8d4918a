#!/usr/bin/env bash
# train.sh RUNS [SHARE [N]]    The whole recipe into the folder RUNS: questions, all stages, what is chosen by the
# validation questions, the checkpoints (RUNS/family), their scores on N held-out questions of each family (250) and the
# table of what each stage is worth (RUNS/table.md). Three hours of two cores; SHARE is the share of that (1) for
# training: 0.01 tries everything out. Broken off and called again, it goes on where it was.
set -euo pipefail
runs=$(mkdir -p "$1" && cd "$1" && pwd) share=${2:-1} held_out=${3:-250}
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1
stage() { # file, its folder, the folder it starts from, minutes, more...
    local file=$1 folder=$2 start=$3 minutes=$4
    shift 4
    [ ! -e "$runs/$folder/done" ] || return 0
    echo
    python "$file.py" --out "$runs/$folder" ${start:+--start "$runs/$start/model"} \
        --minutes "$(python -c "print($minutes * $share)")" "$@"
    touch "$runs/$folder/done"
}
once() { # file that it makes, command...
    local made=$1
    shift
    [ ! -e "$made" ] || return 0
    "$@"
}
chosen() { # what
    python choose.py "$1" "$runs" --per-family $((held_out < 40 ? held_out : 40)) | tee "$runs/chosen-$1.md.part"
    mv "$runs/chosen-$1.md.part" "$runs/chosen-$1.md"
}
scored() { # checkpoint, modes...
    local name=$1
    shift
    read -r -a window <"$runs/editing.txt"
    python ../evaluation/score.py "$runs/family/$name" --questions "$runs/held_out.jsonl" --per-family "$held_out" \
        --gen-length 160 --mbe "${window[@]}" --modes "$@" --out "$runs/results.json" >"$runs/score-$name.part"
    mv "$runs/score-$name.part" "$runs/score-$name.md"
}
published() { # folder of a stage, name
    once "$runs/family/$2/model.safetensors" cp -r "$runs/$1/model" "$runs/family/$2"
}

once "$runs/held_out.jsonl" python -m tasks --write "$runs"
stage stage1_autoregressive  1-ar          ''        10
stage stage2_block_diffusion 2-base        1-ar      20
stage stage3_sft             3-sft         2-base    48
for lambda in 1.0 1.4; do
    stage stage4_confidence  4-cap-$lambda 3-sft     5 --weight $lambda
done
once "$runs/chosen-confidence.md" chosen confidence
stage stage5_editing         5-editing     3-sft     42
once "$runs/chosen-editing.md" chosen editing
stage stage6_ebpo            6-ebpo        5-editing 14
stage stage7_levenshtein     7-levenshtein 5-editing 18

mkdir -p "$runs/family"
published 2-base tiny-base
published 3-sft tiny-2.0
published 4-cap tiny-2.0-cap
published 5-editing tiny-2.1
published 6-ebpo tiny-2.1-rl
published 7-levenshtein tiny-2.2
once "$runs/score-tiny-2.0.md"     scored tiny-2.0     2.0
once "$runs/score-tiny-2.0-cap.md" scored tiny-2.0-cap 2.0
once "$runs/score-tiny-2.1.md"     scored tiny-2.1     S Q S-noedit S-mbe
once "$runs/score-tiny-2.1-rl.md"  scored tiny-2.1-rl  S
once "$runs/score-tiny-2.2.md"     scored tiny-2.2     L L-nomove
python cards.py "$runs/results.json" "$runs/family"
python ../evaluation/effects.py "$runs/results.json" | tee "$runs/table.md"
