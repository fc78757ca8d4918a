"""A question, answered by each of the policies here.

    python3 examples/python/policies/try_all.py examples/models/tiny-2.1 "What is 17 plus 25?"
    python3 examples/python/policies/try_all.py examples/models/tiny-2.1 --per-family 20  # held-out questions instead

`right`: per cent of the answers, with the standard error. TPF: tokens per forward. valid_json is asked the questions
for JSON alone; the model works them out in S mode up to "Answer:", and what comes then is constrained.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

checkout = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python
sys.path.insert(0, str(checkout / "examples" / "training"))
sys.path.insert(0, str(checkout / "examples" / "evaluation"))

import numpy as np

import credit
import decaying_threshold
import hierarchical
import joint_threshold
import llada
import low_confidence
import no_stutter
import remask_low_confidence
import results
import score
import tasks
import valid_json

# The policy that says when a block is done, and the rule.
POLICIES: dict[str, tuple[llada.Policy, Callable[[llada.Model], llada.Rule]]] = {
    "low_confidence": (low_confidence.POLICY, lambda model: low_confidence.LowConfidence()),
    "joint_threshold": (joint_threshold.POLICY, lambda model: joint_threshold.JointThreshold()),
    "hierarchical": (hierarchical.POLICY, lambda model: hierarchical.Hierarchical()),
    "credit": (credit.POLICY, lambda model: credit.Credit()),
    "decaying_threshold": (decaying_threshold.POLICY, lambda model: decaying_threshold.DecayingThreshold()),
    "remask_low_confidence": (remask_low_confidence.POLICY, lambda model: remask_low_confidence.RemaskLowConfidence()),
    "no_stutter": (no_stutter.POLICY, lambda model: no_stutter.NoStutter()),
    "valid_json": (valid_json.POLICY, valid_json.ValidJson),
}


def prompt(model: llada.Model, name: str, question: str) -> np.ndarray:
    ids = model.encode_prompt(question)
    if name == "valid_json":
        worked = model.generate(ids, llada.Policy.speedy(), gen_length=score.GEN_LENGTH).text.partition("Answer:")[0]
        ids = np.append(ids, model.tokenizer.encode(worked + "Answer:"))
    return ids


def is_right(name: str, question: tasks.Question, text: str) -> bool:
    if name == "valid_json":
        return json.loads(text) == json.loads(question.final)
    return tasks.check(question, text)[0]


def scored(model: llada.Model, name: str, questions: list[tasks.Question]) -> str:
    """A row of the table."""
    policy, rule = POLICIES[name]
    if name == "valid_json":
        questions = [question for question in questions if question.family == "json"]
    answers = list(
        model.generate_many(
            [prompt(model, name, question.text) for question in questions],
            policy,
            block_length=score.BLOCK_LENGTH,
            gen_length=score.GEN_LENGTH,
            rule=rule(model),
        )
    )
    right, error = results.percent([is_right(name, q, a.text) for q, a in zip(questions, answers)])
    tpf = sum(len(a.tokens) for a in answers) / sum(a.forwards for a in answers)
    edits = sum(a.edits for a in answers) / len(answers)
    return f"| `{name}` | {len(questions)} | {right:.1f} ± {error:.1f} | {tpf:.2f} | {edits:.2f} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("model", type=Path)
    options.add_argument("question", nargs="?", default="What is 17 plus 25?")
    options.add_argument("--per-family", type=int, metavar="N", help="so many held-out questions of each family")
    options.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), metavar="NAME")
    choice = options.parse_args()
    with llada.Model.load(choice.model) as model:
        if choice.per_family:
            held_out = tasks.read_jsonl(checkout / "examples" / "models" / "held_out.jsonl")
            questions = score.chosen(held_out, choice.per_family)
            print("| policy | questions | right, % | TPF | edits an answer |\n|---|---|---|---|---|")
            for name in choice.policies:
                print(scored(model, name, questions), flush=True)
            return
        for name in choice.policies:
            policy, rule = POLICIES[name]
            answer = model.generate(
                prompt(model, name, choice.question),
                policy,
                gen_length=score.GEN_LENGTH,
                rule=rule(model),
            )
            print(f"{name:22} {answer.forwards:3} forwards, TPF {answer.tpf:5.2f}  {answer.text}")


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
