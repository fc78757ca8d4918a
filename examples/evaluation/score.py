"""How often checkpoints answer the held-out questions right, in which mode, and at what price.

    python3 examples/evaluation/score.py examples/models/tiny-2.0 examples/models/tiny-2.1
    python3 examples/evaluation/score.py examples/models/tiny-2.1 --modes S@0.3 S@0.7 --per-family 50

`final`: the answer is right; `strict`: every worked step as well, in whatever wording; both with the standard error.
TPF: tokens per forward. A checkpoint goes by the name of its folder. Results go to results.json after each mode, in
place of that mode's earlier ones: a long evaluation may be done in parts. effects.py and tradeoff.py read them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TypeVar

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python
sys.path.insert(0, str(checkout / "examples" / "training"))

import llada
import modes
import results
import tasks
from llada.progress import bar_for
from results import Outcome

GEN_LENGTH = 96  # of the shipped checkpoints
BLOCK_LENGTH = 32

Job = tuple[Path, str, tasks.Question]  # checkpoint, mode
AnyJob, Result = TypeVar("AnyJob"), TypeVar("Result")


@cache  # once in each process
def opened(checkpoint: Path, dtype: str = "auto", expert_capacity: int = 0, kv_dtype: str = "auto") -> llada.Model:
    # A tiny model gains nothing from threads; the processes are what keeps the cores busy.
    return llada.Model.load(
        checkpoint, dtype, threads=1, expert_capacity=expert_capacity, progress=False, kv_dtype=kv_dtype
    )


@dataclass(frozen=True)
class Options:
    """What all modes have in common."""

    gen_length: int = GEN_LENGTH
    mbe: tuple[int, int] = (2, 1)  # window and rounds of multiple block editing, in the modes that have it


SHIPPED = Options()


def answered(options: Options, job: Job) -> Outcome:
    checkpoint, mode, question = job
    return outcome(opened(checkpoint), mode, question, options)


def outcome(model: llada.Model, mode: str, question: tasks.Question, options: Options = SHIPPED) -> Outcome:
    policy = llada.Policy(**modes.fields(mode))
    if policy.mbe_window > 1:
        policy = policy.replace(mbe_window=options.mbe[0], mbe_rounds=options.mbe[1])
    prompt = model.encode_prompt(question.text)
    answer = model.generate(
        prompt,
        policy,
        block_length=BLOCK_LENGTH,
        gen_length=options.gen_length,
        logit_bias=modes.logit_bias(mode, (model.info.delete_token_id, model.info.split_token_id)),
    )
    final, strict = tasks.check(question, answer.text)
    last = len(prompt) + len(answer.tokens) - 1
    return Outcome(
        question.text,
        question.family,
        final,
        strict,
        len(answer.tokens),
        answer.forwards,
        answer.edits,
        blocks=last // BLOCK_LENGTH - len(prompt) // BLOCK_LENGTH + 1,
        text=None if strict else answer.text,
        insertions=answer.insertions,
        deletions=answer.deletions,
        level=question.level,
    )


def default_modes(checkpoint: Path) -> list[str]:
    """What effects.py asks of a checkpoint: those before 2.1 have not learnt to edit, those before 2.2 not to move."""
    if "2.2" in checkpoint.name:
        return ["L", "L-nomove"]
    return ["S", "Q", "S-noedit", "S-mbe"] if "2.1" in checkpoint.name else ["2.0"]


def chosen(questions: list[tasks.Question], per_family: int) -> list[tasks.Question]:
    """The first `per_family` of each family."""
    taken: Counter[str] = Counter()
    picked = []
    for question in questions:
        taken[question.family] += 1
        if taken[question.family] <= per_family:
            picked.append(question)
    return picked


def run(pool: Pool, work: Callable[[AnyJob], Result], jobs: Sequence[AnyJob], label: str) -> list[Result]:
    """What comes of each job, a job a question."""
    started = time.monotonic()
    bar = bar_for(None, label)
    done = []
    for result in pool.imap(work, jobs, chunksize=5):
        done.append(result)
        if bar:
            bar(len(done) / len(jobs))
    if bar:
        bar.close()
    print(f"{label}: {len(done)} questions in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return done


def workers(count: int) -> Pool:
    # Ctrl-C is for the parent to see, which ends the others.
    return Pool(count, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def row(mode: str, family: str, outcomes: list[Outcome]) -> str:
    final, final_error = results.percent([o.final for o in outcomes])
    strict, strict_error = results.percent([o.strict for o in outcomes])
    edits, moved_in, moved_out = (
        sum(counts) / len(outcomes) for counts in zip(*((o.edits, o.insertions, o.deletions) for o in outcomes))
    )
    moves = f", {moved_in:.2f} in, {moved_out:.2f} out" if moved_in + moved_out else ""
    forwards = sum(o.forwards for o in outcomes) / len(outcomes)
    return (
        f"| {mode} | {family} | {final:.1f} ± {final_error:.1f} | {strict:.1f} ± {strict_error:.1f} "
        f"| {results.tpf(outcomes):.2f} | {edits:.2f}{moves} | {forwards:.2f} |"
    )


def table(by_mode: dict[str, list[Outcome]]) -> str:
    lines = ["| mode | family | final % | strict % | TPF | edits an answer | forwards an answer |", "|---" * 7 + "|"]
    for mode, outcomes in by_mode.items():
        lines += [row(mode, family, part) for family, part in results.by_family(outcomes).items()]
        lines.append(row(mode, "all", outcomes))
    return "\n".join(lines)


def add_common(options: argparse.ArgumentParser) -> None:
    options.add_argument("--questions", type=Path, default=checkout / "examples" / "models" / "held_out.jsonl")
    options.add_argument("--per-family", type=int, default=sys.maxsize, metavar="N", help="so many of each at most")
    options.add_argument("--processes", type=int, default=2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="a checkpoint")
    options.add_argument("--modes", nargs="+", metavar="MODE", help=f"{', '.join(modes.MODES)}, S@0.3 (threshold)")
    options.add_argument("--out", type=Path, default=Path("results.json"))
    options.add_argument("--gen-length", type=int, default=GEN_LENGTH, metavar="N", help="longest answer, in tokens")
    options.add_argument(
        "--mbe", type=int, nargs=2, default=SHIPPED.mbe, metavar=("WINDOW", "ROUNDS"), help="of S-mbe and Q-mbe"
    )
    add_common(options)
    choice = options.parse_args()
    try:
        for mode in choice.modes or ():
            modes.fields(mode)
        questions = chosen(tasks.read_jsonl(choice.questions), choice.per_family)
    except (OSError, ValueError) as problem:
        options.error(str(problem))

    work = partial(answered, Options(choice.gen_length, tuple(choice.mbe)))
    with workers(choice.processes) as pool:
        for checkpoint in map(Path.absolute, choice.models):
            by_mode = {}
            for mode in choice.modes or default_modes(checkpoint):
                jobs = [(checkpoint, mode, question) for question in questions]
                by_mode[mode] = run(pool, work, jobs, f"{checkpoint.name} {mode}")
                results.add(choice.out, {checkpoint.name: {mode: by_mode[mode]}})
            print(f"### {checkpoint.name}\n\n{table(by_mode)}\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
