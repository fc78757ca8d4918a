"""Records, replays and draws what a decoder does.

python -m llada.trace record MODEL "What is 17 plus 25?" --policy speedy -o run.jsonl
python -m llada.trace replay run.jsonl MODEL
python -m llada.trace show run.jsonl
python -m llada.trace html run.jsonl run.html       # svg, png and experts likewise
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Callable

from ..commands.shell import exit_status
from ..model import Model
from ..policy import PRESETS
from . import Trace


def record(options: argparse.Namespace) -> int:
    """Answers a question and writes what happened."""
    given = {
        name: getattr(options, name)
        for name in ("threshold", "mbe_window", "temperature", "seed")
        if getattr(options, name) is not None
    }
    with Model.load(options.model, options.dtype) as model:
        policy = PRESETS[options.policy](**given) if options.policy else model.default_policy.replace(**given)
        with model.decoder(
            options.prompt, policy, block_length=options.block_length, gen_length=options.gen_length
        ) as decoder:
            decoder.watch(routing=True)
            with decoder.record(options.out):
                answer = decoder.run().result
    print(answer.tokens.tolist() if answer.text is None else answer.text)
    print(
        f"{options.out}: {len(answer.tokens)} tokens in {answer.forwards} forwards, {answer.edits} edits",
        file=sys.stderr,
    )
    return 0


def replay(options: argparse.Namespace) -> int:
    """Does it again and says what differs first."""
    trace = Trace.load(options.trace, partial=options.partial)
    with Model.load(options.model, options.dtype) as model:
        difference = trace.replay(model)
    print(difference or f"{len(trace.steps)} forwards, the same bit for bit")
    return 0 if difference is None else 2


def draw(options: argparse.Namespace) -> int:
    """Makes a picture."""
    trace = Trace.load(options.trace, partial=options.partial)
    if options.command == "show":
        trace.play(options.delay)
    else:
        {"html": trace.html, "svg": trace.svg, "png": trace.heat_map, "experts": trace.expert_map}[options.command](
            options.out
        )
    return 0


def parser(prog: str) -> argparse.ArgumentParser:
    """Of the command line."""
    whole = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], **said: Any) -> argparse.ArgumentParser:
        options = commands.add_parser(name, **said)
        options.set_defaults(run=run)
        return options

    options = command("record", record, help="answers a question and writes what happened")
    options.add_argument("model", help="the folder of a llada2_moe checkpoint")
    options.add_argument("prompt")
    options.add_argument("-o", "--out", default="run.jsonl", help="%(default)s")
    options.add_argument("--policy", choices=PRESETS, help="default: the model's own")
    options.add_argument("--threshold", type=float)
    options.add_argument("--mbe-window", type=int)
    options.add_argument("--temperature", type=float)
    options.add_argument("--seed", type=int)
    options.add_argument("--block-length", type=int, default=32)
    options.add_argument("--gen-length", type=int, default=256)
    options.add_argument("--dtype", default="auto")

    options = command("replay", replay, help="does it again and says what differs first: status 2 if anything does")
    options.add_argument("trace")
    options.add_argument("model")
    options.add_argument("--dtype", default="auto")

    command("show", draw, help="draws it in the terminal").add_argument("trace")
    commands.choices["show"].add_argument("--delay", type=float, default=0.4, help="seconds a forward")
    for name, what in (
        ("html", "one page with a slider"),
        ("svg", "a picture that moves"),
        ("png", "heat map: confidence by forward and position"),
        ("experts", "heat map: expert usage by layer and expert"),
    ):
        options = command(name, draw, help=what)
        options.add_argument("trace")
        options.add_argument("out", help="the file to write")
    for name in ("replay", "show", "html", "svg", "png", "experts"):
        commands.choices[name].add_argument("--partial", action="store_true", help="also a trace that was cut off")
    return whole


def main(arguments: list[str] | None = None, prog: str = "python -m llada.trace") -> int:
    """The command line; returns the status of the process."""
    options = parser(prog).parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return exit_status(prog, lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
