"""What steps over fewer rows save, and what they cost in answers: each question once with all rows and once with
`refresh=True`, in turns.

    python3 examples/evaluation/refresh.py examples/models/tiny-2.0 examples/models/tiny-2.1 --picture refresh.svg
    python3 examples/evaluation/refresh.py examples/models/tiny-2.1 --per-family 10 --processes 1 --replay rows.json

`final` and `strict` are as in score.py; differences are paired, with their standard errors. TPF counts forwards as the
reference does, and `riding` those that are left where the next block always rides in the forward that may end a block;
whether it does is decided by what it costs. Rows and judged rows, whose logits were looked at, are a token's, with the
riders that there were. Experts are those that a layer uses in a forward, watched in a second pass of every fifth
question, without riders. The time is by the clock, so it is worth something with one process on an idle machine.

--replay writes the rows of each forward, also with riders always, for llada-bench --replay.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import score  # first: it makes the package and the questions importable

# isort: split
import numpy as np

import llada
import tasks

PRESETS = {"2.0": llada.Policy.low_confidence, "S": llada.Policy.speedy, "Q": llada.Policy.quality}
WAYS = (None, True)  # of `refresh`


@dataclass(frozen=True)
class Answer:
    final: bool
    strict: bool
    tokens: int
    forwards: int
    steps: list[tuple[int, int]]  # of each forward: rows, judged rows
    ridden: list[tuple[int, int]]  # the same if the next block always rode
    experts: float  # a layer and forward; nan: not watched
    seconds: float

    @property
    def run(self) -> int:
        """The forwards that are left with riders."""
        return sum(rows > 0 for rows, _ in self.ridden)

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.steps)

    @property
    def judged(self) -> int:
        return sum(judged for _, judged in self.steps)


Job = tuple[Path, str, tasks.Question]  # checkpoint, mode


def answered(job: Job) -> tuple[Answer, ...]:
    checkpoint, mode, question = job
    model = score.opened(checkpoint)
    return tuple(answer(model, PRESETS[mode](refresh=refresh), question) for refresh in WAYS)


def decoder(model: llada.Model, policy: llada.Policy, question: tasks.Question) -> llada.Decoder:
    prompt = model.encode_prompt(question.text)
    return model.decoder(prompt, policy, block_length=score.BLOCK_LENGTH, gen_length=score.GEN_LENGTH)


def answer(model: llada.Model, policy: llada.Policy, question: tasks.Question) -> Answer:
    steps: list[tuple[int, int]] = []
    ridden: list[tuple[int, int]] = []
    seconds, has_ridden = 0.0, False
    with decoder(model, policy, question) as dec:
        while not dec.finished:
            before = dec.computed_positions, dec.judged_positions, dec.computed_forwards
            active, block = dec.active, dec.canvas[dec.active.start : dec.active.stop]
            may_ride = (
                policy.kind != "low_confidence"
                and len(dec.masked) == 0
                and not np.isin(block, model.info.eos_token_ids).any()
                and active.stop < len(dec.canvas)
            )
            started = time.perf_counter()
            dec.step()
            seconds += time.perf_counter() - started
            rows, judged = dec.computed_positions - before[0], dec.judged_positions - before[1]
            # The first forward has the prompt in it; what it takes is the same for all.
            rows = rows if steps else score.BLOCK_LENGTH
            steps.append((rows, judged))
            if dec.computed_forwards == before[2]:  # it has ridden, and its rows are those of the forward before
                rows = score.BLOCK_LENGTH
            elif may_ride and rows > score.BLOCK_LENGTH:
                rows -= score.BLOCK_LENGTH
            ridden.append((0 if has_ridden else rows + may_ride * score.BLOCK_LENGTH, judged))
            has_ridden = may_ride and not dec.events
        final, strict = tasks.check(question, dec.text)
        watched = zlib.crc32(question.text.encode()) % 5 == 0
        count = experts(model, policy, question) if watched else math.nan
        return Answer(final, strict, len(dec.tokens), dec.forwards, steps, ridden, count, seconds)


def experts(model: llada.Model, policy: llada.Policy, question: tasks.Question) -> float:
    """The mean number of experts of a layer that a forward uses."""
    layers = range(model.info.first_k_dense_replace, model.info.num_hidden_layers)
    used: list[int] = []
    with decoder(model, policy, question) as dec:
        dec.watch(routing=True)
        while not dec.finished:
            dec.forward()
            computed = dec.rows.computed
            used += [len(np.unique(dec.routing(layer).experts[computed])) for layer in layers]
            dec.propose()
            dec.apply()
    return float(np.mean(used))


def default_modes(checkpoint: Path) -> list[str]:
    return ["S", "Q"] if "2.1" in checkpoint.name else ["2.0"]


@dataclass(frozen=True)
class Line:
    """One way of decoding, over all questions."""

    model: str
    mode: str
    refresh: bool | None
    answers: Sequence[Answer]

    def total(self, what: str) -> float:
        return float(sum(getattr(one, what) for one in self.answers))

    def a_token(self, what: str) -> float:
        return self.total(what) / self.total("tokens")

    def percent(self, what: str) -> float:
        return 100 * float(np.mean([getattr(one, what) for one in self.answers]))


def difference(full: Line, fewer: Line, what: str) -> str:
    gains = np.array([getattr(b, what) - getattr(a, what) for a, b in zip(full.answers, fewer.answers)], float)
    return f"{100 * gains.mean():+.1f} ± {100 * gains.std(ddof=1) / np.sqrt(len(gains)):.1f}"


def row(line: Line, full: Line) -> str:
    if line is full:
        scores = [f"{line.percent(what):.1f}" for what in ("final", "strict")]
    else:
        scores = [difference(full, line, what) for what in ("final", "strict")]
    cells = [
        line.model,
        line.mode,
        "refresh" if line.refresh else "all rows",
        *scores,
        f"{1 / line.a_token('forwards'):.2f}",
        f"{1 / line.a_token('run'):.2f}",
        f"{line.a_token('rows'):.2f}",
        f"{line.a_token('judged'):.2f}",
        f"{float(np.nanmean([one.experts for one in line.answers])):.2f}",
        f"{1000 * line.a_token('seconds'):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| model | mode | a step runs | final, % | strict, % | TPF | riding | rows a token | judged rows a token | experts "
    "| ms a token |"
)


def draw(pairs: Sequence[tuple[Line, Line]], path: Path) -> None:
    """Rows, judged rows and time a token, as shares of those with all rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = {"rows": "#0969da", "judged": "#1b9e77", "seconds": "#d9480f"}
    names = {"rows": "rows", "judged": "judged rows", "seconds": "time"}
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "refresh"})
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.7 * len(pairs)), facecolor="white", layout="constrained")
    for place, (full, fewer) in enumerate(pairs):
        for index, (what, colour) in enumerate(shown.items()):
            share = fewer.a_token(what) / full.a_token(what)
            at = place + 0.25 * (index - 1)
            axes.barh(at, share, 0.22, color=colour, label=None if place else names[what])
            axes.text(share + 0.01, at, f"{share:.2f}", va="center", color="#24292f", fontsize=8)
    axes.set_yticks(range(len(pairs)), [f"{full.model}, {full.mode}" for full, _ in pairs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.axvline(1, color="#8c959f", linewidth=1)
    axes.set_title("a token with refresh, of one with all rows", loc="left", fontsize=11)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="a checkpoint")
    options.add_argument("--modes", nargs="+", metavar="MODE", choices=PRESETS, help=", ".join(PRESETS))
    options.add_argument("--picture", type=Path, help="an .svg or .png to write; needs matplotlib")
    options.add_argument("--replay", type=Path, help="a .json of each forward's rows, for llada-bench --replay")
    score.add_common(options)
    choice = options.parse_args()
    questions = score.chosen(tasks.read_jsonl(choice.questions), choice.per_family)

    lines: list[Line] = []
    with score.workers(choice.processes) as pool:
        for checkpoint in map(Path.absolute, choice.models):
            for mode in choice.modes or default_modes(checkpoint):
                jobs = [(checkpoint, mode, question) for question in questions]
                done = score.run(pool, answered, jobs, f"{checkpoint.name} {mode}")
                lines += [Line(checkpoint.name, mode, way, one) for way, one in zip(WAYS, zip(*done))]
    pairs = list(zip(lines[::2], lines[1::2]))
    print(HEAD, "|---" * 11 + "|", *(row(line, full) for full, fewer in pairs for line in (full, fewer)), sep="\n")
    if choice.picture:
        draw(pairs, choice.picture)
    if choice.replay:
        courses = [
            {
                "name": f"{line.model} {line.mode}{' refresh' if line.refresh else ''}{' riding' if riding else ''}",
                "tokens": line.total("tokens"),
                "forwards": [step for one in line.answers for step in (one.ridden if riding else one.steps)],
            }
            for line in lines
            for riding in ((False, True) if line.total("run") < line.total("forwards") else (False,))
        ]
        choice.replay.write_text(json.dumps(courses) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
