"""What is chosen by the validation questions: the lambda of stage 4, and how far multiple block editing looks back.

python choose.py confidence RUNS    # of RUNS/4-cap-*, trained with several lambdas -> RUNS/4-cap
python choose.py editing RUNS       # of WINDOWS, for RUNS/5-editing -> RUNS/editing.txt: window and rounds
"""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
import paired
import results
import score
import tasks
from rollouts import GEN_LENGTH

WINDOWS = ((2, 1), (3, 1), (4, 1), (6, 1), (3, 2))  # (blocks, rounds)
WORST = 1.5  # points that confidence-aware training may cost
SLOWEST = 0.85  # share of the tokens per forward that multiple block editing may leave


def answered(pool, model, mode, questions, *window):
    options = score.Options(GEN_LENGTH, *window)
    jobs = [(model.absolute(), mode, question) for question in questions]
    return score.run(pool, partial(score.answered, options), jobs, f"{model.parent.name} {mode} {options.mbe}")


def compared(name, after, before):
    """(points, ratio of tokens per forward), printed as a row."""
    both = paired.pairs(after, before)
    (points, error), (ratio, ratio_error) = paired.points(both, "final"), paired.tpf_ratio(both)
    right = results.percent([outcome.final for outcome in after])[0]
    print(f"| {name} | {right:.1f} | {points:+.1f} ± {error:.1f} | {ratio:.2f} ± {ratio_error:.2f} |", flush=True)
    return points, ratio


def confidence(pool, runs, questions):
    """The fastest of those that cost little; if all cost more, the one that costs least."""
    before = answered(pool, runs / "3-sft" / "model", "2.0", questions)
    found = {}
    for folder in sorted(runs.glob("4-cap-*")):
        found[folder] = compared(folder.name, answered(pool, folder / "model", "2.0", questions), before)
    cheap = [folder for folder, (points, _) in found.items() if points >= -WORST]
    best = max(cheap, key=lambda folder: found[folder][1]) if cheap else max(found, key=lambda folder: found[folder][0])
    shutil.copytree(best, runs / "4-cap", dirs_exist_ok=True)
    print(f"chosen: {best.name}")


def editing(pool, runs, questions):
    """The one that gains most of those that are not too slow; if all are, the fastest."""
    model = runs / "5-editing" / "model"
    before = answered(pool, model, "S", questions)
    found = {}
    for window in WINDOWS:
        found[window] = compared(f"{window}", answered(pool, model, "S-mbe", questions, window), before)
    fast = [window for window, (_, ratio) in found.items() if ratio >= SLOWEST]
    best = max(fast, key=lambda w: found[w][0]) if fast else max(found, key=lambda w: found[w][1])
    (runs / "editing.txt").write_text("{} {}\n".format(*best))
    print(f"chosen: {best}")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("what", choices=("confidence", "editing"))
    options.add_argument("runs", type=Path, help="with validation.jsonl")
    options.add_argument("--per-family", type=int, default=40, metavar="N")
    choice = options.parse_args()
    questions = score.chosen(tasks.read_jsonl(choice.runs / "validation.jsonl"), choice.per_family)
    print("| | final % | final, points | TPF, ratio |\n|---|---|---|---|")
    with score.workers(2) as pool:
        {"confidence": confidence, "editing": editing}[choice.what](pool, choice.runs, questions)


if __name__ == "__main__":
    main()
