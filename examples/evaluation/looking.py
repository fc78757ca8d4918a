"""What sampling costs at the published vocabulary, and what looking costs: steps with and without, in turns.

python3 examples/evaluation/looking.py --layers 4 --dtype int4 --threads 2 --rounds 9 --work FOLDER

Two models with random weights are written to FOLDER once: one layer of a small width, whose step is little more than
the judging of 157,184 tokens a row, and some layers of mini's width. Medians of rounds, and their range, in ms.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any, Callable

import llada
from llada import synthetic

Look = Callable[[llada.Decoder], Any]


def small() -> dict[str, Any]:
    """The config of one dense layer of width 128 over the published vocabulary."""
    config = synthetic.published_config("mini", 1)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 64, "rotary_dim": 32}
    return {**config, **sizes, "num_attention_heads": 2, "num_key_value_heads": 1}


def decoder(model: llada.Model, prefix: int, kept: int = 0, **numbers: Any) -> llada.Decoder:
    """A decoder whose prefix has been computed."""
    policy = llada.Policy.low_confidence().replace(**numbers)
    made = model.decoder([7 + i * 7919 % 100_000 for i in range(prefix)], policy, gen_length=32, block_length=32)
    made.keep_candidates(kept)
    made.forward()
    return made


def table(title: str, ways: dict[str, tuple[llada.Decoder, Look]], rounds: int) -> None:
    """Prints what a forward and a look take, for each of the ways, in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (dec, look) in ways.items():
            begin = time.perf_counter()
            dec.forward()
            look(dec)
            times[name].append(1e3 * (time.perf_counter() - begin))
    print(f"\n| {title} | ms | range | more, ms |\n|---|---|---|---|")
    first = next(iter(times.values()))
    for name, taken in times.items():
        more = statistics.median(a - b for a, b in zip(taken, first))
        print(f"| {name} | {statistics.median(taken):.1f} | {min(taken):.1f}–{max(taken):.1f} | {more:.1f} |")


def nothing(dec: llada.Decoder) -> None:
    """Looks at nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder for the models")
    parser.add_argument("--layers", type=int, default=4, help="of mini's width")
    parser.add_argument("--dtype", default="int4", help="of mini's width")
    parser.add_argument("--prefix", type=int, default=512, help="tokens before the block, for mini's width")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=("sampling", "looking"), help="one of the two")
    options = parser.parse_args()
    if options.only != "looking":
        sampling(options)
    if options.only != "sampling":
        looking(options)


def opened(folder: Path, config: dict[str, Any], **options: Any) -> llada.Model:
    """A model with random weights, which is made if it is not there."""
    if not (folder / "config.json").exists():
        synthetic.write(folder, config)
    return llada.Model.load(folder, **options)


def sampling(options: argparse.Namespace) -> None:
    """The small model: 32 rows, greedy, and drawn in several ways."""
    ways: dict[str, dict[str, Any]] = {
        "greedy": {},
        "temperature=1": {"temperature": 1.0},
        "temperature=1, top_k=50": {"temperature": 1.0, "top_k": 50},
        "temperature=1, top_p=0.9": {"temperature": 1.0, "top_p": 0.9},
        "temperature=0.8, top_k=5000, top_p=0.95": {"temperature": 0.8, "top_k": 5000, "top_p": 0.95},
    }
    with opened(options.work / "small", small(), threads=options.threads) as model:
        table(
            "sampling, 32 rows of 157,184 tokens",
            {name: (decoder(model, 32, **numbers), nothing) for name, numbers in ways.items()},
            options.rounds,
        )


def looking(options: argparse.Namespace) -> None:
    """Mini's width: candidates of all rows and of one, asked for before the forward and after it."""
    config = synthetic.published_config("mini", options.layers)
    folder = options.work / f"mini-{options.layers}"
    with opened(folder, config, threads=options.threads, dtype=options.dtype) as model:

        def best(k: int) -> Look:
            return lambda dec: dec.row_candidates(k)

        ways = {
            "no look": (decoder(model, options.prefix), nothing),
            "3 of each row, asked for before": (decoder(model, options.prefix, 3), best(3)),
            "8 of each row, asked for before": (decoder(model, options.prefix, 8), best(8)),
            "3 of one row, not asked for": (
                decoder(model, options.prefix),
                lambda dec: dec.candidates(dec.active[5], 3),
            ),
            "logits of one row": (decoder(model, options.prefix), lambda dec: dec.logits(dec.active[5])),
            "3 of each row, not asked for": (decoder(model, options.prefix), best(3)),
            "logits of each row": (decoder(model, options.prefix), lambda dec: dec.row_logits()),
        }
        table(f"looking, {options.layers} layers of mini's width, {options.dtype}", ways, options.rounds)


if __name__ == "__main__":
    main()
