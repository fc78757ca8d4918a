"""What a step must yield to be as fast as autoregressive decoding: llada and llama.cpp in turns, on the same shape.

    swift build -c release --product llada-bench
    python3 examples/evaluation/peers/break_even.py --layers 20 --rounds 3 --work FOLDER

In each round llada-bench times a step in int4 for each pool of experts, and then llama.cpp, in a fresh process, a step
and single tokens on the same prefix. A ratio is taken within a round: tokens a forward at which both are as fast.

FOLDER takes the GGUF file, 9.2 GB at 20 layers. llada takes 11 GB of memory, llama.cpp 10.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

import shape
from compare import checkout, here, output, span


def main() -> None:
    options = shape.arguments(__doc__.split("\n\n")[0])
    options.set_defaults(layers=20)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--pools", default="0,48,96", help="of experts a block may use; 0: all")
    options.add_argument("--kind", choices=["Q4_0", "Q4_K"], default="Q4_K", help="llama.cpp's weights")
    options.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    options.add_argument("--bench", type=Path, default=checkout / ".build" / "release" / "llada-bench")
    options.add_argument("--llama", default=sys.executable, metavar="PYTHON", help="one with llama-cpp-python and gguf")
    choice = options.parse_args()
    choice.work.mkdir(parents=True, exist_ok=True)
    weights = shape.gguf_path(choice.work, choice.layers, choice.kind)
    if not weights.exists():
        output([choice.llama, here / "write_gguf.py", choice.kind, weights, "--layers", choice.layers])
    sizes = ["--layers", choice.layers, "--threads", choice.threads, "--prefix", choice.prefix, "--block", choice.block]
    timings = choice.timings

    steps: dict[int, list[float]] = {}  # by pool, of each round
    limits: dict[int, list[float]] = {}  # how many times its limits a step took, of each timing
    tokens: list[float] = []
    theirs: list[float] = []
    for number in range(1, choice.rounds + 1):
        file = choice.work / "break_even.json"
        mini = ["--shape", "mini", *sizes, "--dtype", "int4"]
        output([choice.bench, *mini, "--expert-capacity", choice.pools, "--rounds", timings, "--json", file])
        for run in json.loads(file.read_text())["runs"]:
            pool, step = run["expert_capacity"], run["steps"][0]
            steps.setdefault(pool, []).append(median(step["step_ms"]))
            limits.setdefault(pool, []).extend(a / b for a, b in zip(step["step_ms"], step["step_at_limits_ms"]))
        peer = [choice.llama, here / "run_llama.py", *sizes, "--timings", timings, weights]
        said = json.loads(output(peer).splitlines()[-1])
        tokens.append(median(said["token_ms"]))
        theirs.append(median(said["step_ms"]))
        ours = ", ".join(f"pool {pool}: {times[-1]:.0f} ms" for pool, times in steps.items())
        print(f"round {number} of {choice.rounds}: {ours}; a token {tokens[-1]:.1f} ms", file=sys.stderr)

    print(f"llama.cpp {choice.kind}: a step {span(theirs, '.0f')} ms, a token {span(tokens, '.1f')} ms\n")
    print("| experts of a block | step, ms | times its limits | breaks even at TPF |\n|---|---|---|---|")
    for pool, times in steps.items():
        even = [step / token for step, token in zip(times, tokens)]
        name = pool or "all"
        print(f"| {name} | {span(times, '.0f')} | {span(limits[pool], '.2f')} | {span(even, '.1f')} |")


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
