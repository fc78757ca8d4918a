"""What packed weights, keys and values in bf16, and shared experts cost a checkpoint, against f32, in what it predicts
and in what it answers.

    python3 examples/evaluation/precision.py examples/models/tiny-2.1
    python3 examples/evaluation/precision.py examples/models/tiny-2.1 --dtype int4 --expert-capacity 2 3 4 6 --mode Q

Keys and values are f32 with f32 and bf16 with packed weights; "f32, K/V bf16" is what that alone costs.
KL and same top token: at the positions of the held-out questions' answers, of whose tokens half are masked; means over
positions. Score and TPF: of the answers decoded in one mode, as in score.py, and what they gain on f32's over the same
questions.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import score  # first: it makes the package and the questions importable

# isort: split
import numpy as np

import llada
import modes
import paired
import results
import tasks
from results import Outcome


@dataclass(frozen=True)
class Variant:
    """How a checkpoint is opened."""

    dtype: str = "f32"
    expert_capacity: int = 0
    kv_dtype: str = "auto"

    def __str__(self) -> str:
        experts = [f"{self.expert_capacity} experts a block"] if self.expert_capacity else []
        return ", ".join([self.dtype, *([f"K/V {self.kv_dtype}"] if self.kv_dtype != "auto" else []), *experts])


@dataclass(frozen=True)
class Measured:
    """One question."""

    divergences: np.ndarray  # KL from f32, by position of the answer
    agree: np.ndarray  # whether the top token is f32's
    outcome: Outcome


Job = tuple[Path, Variant, str, tasks.Question]  # checkpoint, mode


def measured(job: Job) -> Measured:
    checkpoint, variant, mode, question = job
    exact = score.opened(checkpoint, "f32")
    model = score.opened(checkpoint, variant.dtype, variant.expert_capacity, variant.kv_dtype)
    prompt, answer = exact.encode_prompt(question.text), exact.encode_prompt(question.worked, chat=False)
    hidden = np.random.default_rng(zlib.crc32(question.text.encode())).random(len(answer)) < 0.5
    canvas = np.concatenate([prompt, np.where(hidden, exact.mask_token_id, answer)])
    expected, found = (log_softmax(m.logits(canvas, score.BLOCK_LENGTH)[len(prompt) :]) for m in (exact, model))
    divergences = (np.exp(expected) * (expected - found)).sum(axis=-1)
    agree = expected.argmax(axis=-1) == found.argmax(axis=-1)
    return Measured(divergences, agree, score.outcome(model, mode, question))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


HEAD = (
    "",
    "KL from f32",
    "same top token, %",
    "final, %",
    "final, points",
    "strict, %",
    "strict, points",
    "TPF",
    "TPF, ratio",
)


def row(variant: Variant, found: list[Measured], exact: list[Measured]) -> str:
    outcomes = [one.outcome for one in found]
    both = paired.pairs(outcomes, [one.outcome for one in exact])
    cells = [
        str(variant),
        f"{np.concatenate([one.divergences for one in found]).mean():.5f}",
        f"{100 * np.concatenate([one.agree for one in found]).mean():.2f}",
    ]
    for name in ("final", "strict"):
        share, error = results.percent([getattr(outcome, name) for outcome in outcomes])
        gain, gain_error = paired.points(both, name)
        cells += [f"{share:.1f} ± {error:.1f}", f"{gain:+.1f} ± {gain_error:.1f}"]
    ratio, ratio_error = paired.tpf_ratio(both)
    cells += [f"{results.tpf(outcomes):.2f}", f"{ratio:.3f} ± {ratio_error:.3f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("model", metavar="MODEL", type=Path, help="a checkpoint")
    options.add_argument(
        "--dtype", nargs="+", default=["bf16", "int8", "int4"], choices=["auto", "bf16", "int8", "int4"]
    )
    options.add_argument(
        "--expert-capacity", nargs="+", type=int, default=[], metavar="N", help="of f32: experts for a block"
    )
    options.add_argument("--mode", default="S", help=f"{', '.join(modes.MODES)}, S@0.3 (threshold)")
    score.add_common(options)
    choice = options.parse_args()
    try:
        modes.fields(choice.mode)
        questions = score.chosen(tasks.read_jsonl(choice.questions), choice.per_family)
    except (OSError, ValueError) as problem:
        options.error(str(problem))

    checkpoint, exact = choice.model.absolute(), Variant()
    halves = [Variant(kv_dtype="bf16"), Variant(kv_dtype="int8")]
    packed = [Variant(dtype) for dtype in choice.dtype]
    shared = [Variant(expert_capacity=n) for n in choice.expert_capacity]
    found: dict[Variant, list[Measured]] = {}
    print(f"### {checkpoint.name}, {choice.mode}, {len(questions)} questions\n")
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    with score.workers(choice.processes) as pool:
        for variant in (exact, *halves, *packed, *shared):
            jobs = [(checkpoint, variant, choice.mode, question) for question in questions]
            found[variant] = score.run(pool, measured, jobs, str(variant))
            print(row(variant, found[variant], found[exact]), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
