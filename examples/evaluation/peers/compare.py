"""llada beside llama.cpp and PyTorch: the same shape, the same machine, the same minutes.

    swift build -c release --product llada-bench
    python3 examples/evaluation/peers/compare.py --layers 4 --threads 2 --rounds 5 --work FOLDER

One denoising step of a block, with the logits of all its rows, on a prefix in the cache, and a prefill of that prefix;
random weights of LLaDA2-mini's width. In each round every engine runs once, alone, in a fresh process, which warms up
and times a few of each. What is compared are medians within a round; what is printed, medians over rounds and their
range.

FOLDER takes GGUF files, 13 GB at 4 layers, which later runs use again, and what comes out: compare.md, .json, .svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import plot
import shape

here = Path(__file__).resolve().parent
checkout = here.parents[2]


@dataclass(frozen=True)
class Timed:
    """What a process measured."""

    step_ms: list[float]
    prefill_ms: list[float]
    experts_used: float | None  # by a step, a layer; None: unknown
    bandwidth: float | None = None  # GB/s, probed beside
    token_ms: list[float] | None = None  # of one token alone, where that is timed


@dataclass
class Entry:
    """An engine at a precision."""

    name: str
    group: str  # what is compared with each other
    run: Callable[[], Timed]
    rounds: list[Timed] = field(default_factory=list)

    def medians(self, what: str) -> list[float]:
        """Of each round."""
        return [median(getattr(timed, what)) for timed in self.rounds]


def output(command: list[str | Path]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def entries(choice: argparse.Namespace, with_llama: bool, with_torch: bool) -> list[Entry]:
    sizes = ["--layers", choice.layers, "--threads", choice.threads, "--prefix", choice.prefix, "--block", choice.block]

    def llada(precision: str) -> Timed:
        file = choice.work / "llada.json"
        output(
            [
                choice.bench,
                "--shape",
                "mini",
                *sizes,
                "--dtype",
                precision,
                "--rounds",
                choice.timings,
                "--json",
                file,
            ]
        )
        run = json.loads(file.read_text())["runs"][0]
        step = run["steps"][0]
        return Timed(step["step_ms"], step["prefill_ms"], step["experts_used"], median(run["bandwidth_gb_s"]))

    def peer(python: str, program: str, *more: str | Path) -> Timed:
        said = output([python, here / program, *sizes, "--timings", choice.timings, *more])
        return Timed(**json.loads(said.splitlines()[-1]))

    def llama(kind: str) -> Timed:
        return peer(choice.llama, "run_llama.py", shape.gguf_path(choice.work, choice.layers, kind))

    groups = {"bf16": ["BF16"], "int8": ["Q8_0"], "int4": ["Q4_0", "Q4_K"]}
    found = []
    for precision, kinds in groups.items():
        found.append(Entry(f"llada {precision}", precision, partial(llada, precision)))
        if with_llama:
            found += [Entry(f"llama.cpp {kind}", precision, partial(llama, kind)) for kind in kinds]
        if with_torch and precision == "bf16":
            found.append(Entry("PyTorch bf16", precision, partial(peer, choice.torch, "run_torch.py")))
    return found


def write_weights(choice: argparse.Namespace) -> None:
    for kind in ("BF16", "Q8_0", "Q4_0", "Q4_K"):
        path = shape.gguf_path(choice.work, choice.layers, kind)
        if not path.exists():
            print(f"writing {path}", file=sys.stderr)
            output([choice.llama, here / "write_gguf.py", kind, path, "--layers", choice.layers])


def run(all_entries: list[Entry], rounds: int) -> None:
    started, done, total = time.monotonic(), 0, rounds * len(all_entries)
    for number in range(1, rounds + 1):
        for entry in all_entries:
            entry.rounds.append(entry.run())
            done += 1
            left = (time.monotonic() - started) / done * (total - done) / 60
            step, prefill = entry.medians("step_ms")[-1], entry.medians("prefill_ms")[-1]
            print(
                f"round {number} of {rounds}, {entry.name}: step {step:.0f} ms, prefill {prefill:.0f} ms; "
                f"about {left:.0f} min left",
                file=sys.stderr,
            )


def span(values: list[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def ratios(ours: Entry, peer: Entry, what: str) -> list[float]:
    """How many times as fast we were, round by round."""
    return [theirs / mine for theirs, mine in zip(peer.medians(what), ours.medians(what))]


def by_group(all_entries: list[Entry]) -> list[tuple[Entry, list[Entry]]]:
    """Ours first, then whom it is compared with."""
    groups: dict[str, list[Entry]] = {}
    for entry in all_entries:
        groups.setdefault(entry.group, []).append(entry)
    return [(group[0], group[1:]) for group in groups.values()]


def table(all_entries: list[Entry]) -> str:
    lines = [
        "| | step, ms | best step, ms | prefill, ms | step, llada faster by | prefill, llada faster by "
        "| GB/s probed beside |",
        "|---" * 7 + "|",
    ]
    for ours, peers in by_group(all_entries):
        for entry in [ours, *peers]:
            faster = [f"**{span(ratios(ours, entry, what), '.2f')}**" for what in ("step_ms", "prefill_ms")]
            probed = [timed.bandwidth for timed in entry.rounds if timed.bandwidth]
            best = min(min(timed.step_ms) for timed in entry.rounds)
            cells = [
                entry.name,
                span(entry.medians("step_ms"), ".0f"),
                f"{best:.0f}",
                span(entry.medians("prefill_ms"), ".0f"),
                *(faster if entry is not ours else ["", ""]),
                span(probed, ".0f") if probed else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(all_entries: list[Entry]) -> str:
    """Against the fastest peer of each precision."""
    lines = []
    for ours, peers in by_group(all_entries):
        for what in ("step_ms", "prefill_ms") if peers else ():
            fastest = min(peers, key=lambda peer: median(peer.medians(what)))
            faster = span(ratios(ours, fastest, what), ".2f")
            lines.append(f"{ours.name}, {what.removesuffix('_ms')}: {faster} times as fast as {fastest.name}")
    used = {entry.name: entry.rounds[-1].experts_used for entry in all_entries}
    told = ", ".join(f"{name} {count:.0f}" for name, count in used.items() if count)
    return "\n".join([*lines, f"experts used by a step, a layer: {told}"])


def has(python: str, *modules: str) -> bool:
    done = subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True, text=True)
    if done.returncode:
        print(f"left out: {done.stderr.strip().splitlines()[-1]} ({python})", file=sys.stderr)
    return done.returncode == 0


def main() -> None:
    options = shape.arguments(__doc__.split("\n\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="for weights and results")
    options.add_argument(
        "--bench", type=Path, default=checkout / ".build" / "release" / "llada-bench", metavar="PROGRAM"
    )
    options.add_argument("--llama", default=sys.executable, metavar="PYTHON", help="one with llama-cpp-python and gguf")
    options.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="one with torch")
    choice = options.parse_args()
    if not choice.bench.exists():
        options.error(f"{choice.bench} is not there: swift build -c release --product llada-bench")
    choice.work.mkdir(parents=True, exist_ok=True)
    with_llama, with_torch = has(choice.llama, "llama_cpp", "gguf"), has(choice.torch, "torch")
    if with_llama:
        write_weights(choice)

    all_entries = entries(choice, with_llama, with_torch)
    run(all_entries, choice.rounds)
    title = (
        f"{choice.layers} layers of LLaDA2-mini's width, a step of {choice.block} on {choice.prefix}, "
        f"{choice.threads} threads, {choice.rounds} rounds of {choice.timings}"
    )
    said = f"{title}; medians of rounds, and their range\n\n{table(all_entries)}\n\n{summary(all_entries)}\n"
    print(said, end="")
    (choice.work / "compare.md").write_text(said)
    kept = {entry.name: [vars(timed) for timed in entry.rounds] for entry in all_entries}
    sizes = {name: getattr(choice, name) for name in ("layers", "threads", "prefix", "block", "timings")}
    (choice.work / "compare.json").write_text(json.dumps({**sizes, "rounds": kept}, indent=1) + "\n")
    panels = {
        what: [(entry.name, entry.group, entry.medians(what)) for entry in all_entries]
        for what in ("step_ms", "prefill_ms")
    }
    (choice.work / "compare.svg").write_text(plot.svg(title, panels))


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
