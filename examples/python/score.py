"""How often a model answers its held-out questions right, in each mode, and at what price.

    python3 examples/python/score.py examples/models/tiny-2.1

`final`: the answer is right, with the standard error; `strict`: every worked step as well; TPF: tokens per forward.
"""

import argparse
import json
import sys
from collections import defaultdict
from math import sqrt
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada

MODES = {
    "2.0, threshold 0.95": llada.Policy.low_confidence(),
    "S": llada.Policy.speedy(),
    "S without editing": llada.Policy.joint_threshold(threshold=0.5, editing_threshold=1.0),
    "Q": llada.Policy.quality(),
    "Q with MBE": llada.Policy.quality(mbe_window=2),
}


def row(mode: str, family: str, results: list) -> str:
    n = len(results)
    final = sum(r[0] for r in results) / n
    strict = sum(r[1] for r in results) / n
    tpf = sum(r[2] for r in results) / sum(r[3] for r in results)
    edits = sum(r[4] for r in results) / n
    error = 100 * sqrt(final * (1 - final) / n)
    return f"| {mode} | {family} | {100 * final:.1f} ± {error:.1f} | {100 * strict:.1f} | {tpf:.2f} | {edits:.2f} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("model", type=Path, help="a checkpoint with a held_out.jsonl")
    choice = options.parse_args()
    questions = [json.loads(line) for line in (choice.model / "held_out.jsonl").read_text().splitlines()]
    print(f"{len(questions)} questions\n\n| mode | family | final % | strict % | TPF | edits an answer |\n|---|---|---|---|---|---|")
    with llada.Model.load(choice.model) as model:
        for mode, policy in MODES.items():
            results = defaultdict(list)
            for question in questions:
                answer = model.generate(question["question"], policy=policy, gen_length=96)
                text = answer.text.strip()
                final = text.rpartition("Answer: ")[2] == question["final"]
                outcome = (final, text == question["worked"], len(answer.tokens), answer.forwards, answer.edits)
                results[question["family"]].append(outcome)
                results["all"].append(outcome)
            for family, outcomes in sorted(results.items(), key=lambda item: item[0] == "all"):
                print(row(mode, family, outcomes))


if __name__ == "__main__":
    main()
