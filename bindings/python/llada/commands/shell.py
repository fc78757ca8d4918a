"""What all commands have in common: options, errors in a line, and exit statuses."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from typing import Any, Callable

from ..errors import Error
from ..model import Model
from ..policy import PRESETS, Policy

FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141


def exit_status(prog: str, work: Callable[[], int]) -> int:
    """Runs a command.

    Args:
        prog: What it is called.
        work: The command; it returns its exit status.

    Returns:
        That of `work`; 1 after an error, which is said in one line of stderr; 130 after Ctrl-C; 141 if whoever read the
        output has gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an answer may have any character
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"{prog}: {message}", file=sys.stderr)
        try:
            status = work()
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
            return PIPE_CLOSED
        except (Error, ValueError, OSError, ImportError) as problem:
            print(f"{prog}: {' '.join(str(problem).split())}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            return INTERRUPTED


def add_model(options: argparse.ArgumentParser) -> None:
    """Which model, and how it is held."""
    options.add_argument("model", help="the folder of a llada2_moe checkpoint, or a GGUF file")
    options.add_argument(
        "--dtype", default="auto", help="how weights are held: auto, f32, bf16, int8, int4; %(default)s"
    )
    options.add_argument("--threads", type=int, help="as many as the process may use")


def add_generation(options: argparse.ArgumentParser) -> None:
    """How answers are denoised."""
    options.add_argument("--policy", choices=PRESETS, help="the model's own")
    options.add_argument("--temperature", type=float, help="0: the most likely tokens")
    options.add_argument("--seed", type=int, help="of what is drawn with a temperature")
    options.add_argument("--gen-length", type=int, default=512, help="tokens of an answer, at most; %(default)s")
    options.add_argument("--block-length", type=int, default=32, help="tokens denoised together; %(default)s")
    options.add_argument("--system", metavar="TEXT", help="a system prompt")
    options.add_argument("--thinking", action="store_true", help="tells the model to think before it answers")


def opened(options: argparse.Namespace) -> Model:
    """The model."""
    return Model.load(options.model, options.dtype, options.threads)


def chosen(options: argparse.Namespace, model: Model) -> Policy:
    """The policy."""
    policy = PRESETS[options.policy]() if options.policy else model.default_policy
    numbers: dict[str, Any] = {name: getattr(options, name) for name in ("temperature", "seed")}
    return policy.replace(**{name: value for name, value in numbers.items() if value is not None})
