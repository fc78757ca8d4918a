"""A conversation, line by line. What was said before waits in a prefix cache, keys and values and all.

llada chat MODEL
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from ..cache import PrefixCache
from ..errors import Error, TokenizerError
from ..model import Model
from ..policy import Policy
from ..progress import is_terminal
from .run import took
from .screen import MASK, Screen
from .shell import add_generation, add_model, chosen, exit_status, opened


def parser(prog: str) -> argparse.ArgumentParser:
    """Of the command line."""
    options = argparse.ArgumentParser(
        prog=prog,
        description="A conversation. What was said before is not read again. In a terminal, the draft that may still "
        "change stands dim behind what is settled; Ctrl-C ends an answer, and an empty line begins anew.",
    )
    add_model(options)
    add_generation(options)
    options.add_argument(
        "--cache", type=int, default=1 << 30, metavar="BYTES", help="of keys and values to keep; %(default)s"
    )
    return options


def main(arguments: list[str] | None = None, prog: str = "python -m llada chat") -> int:
    """The command; returns its exit status."""
    options = parser(prog).parse_args(arguments)
    return exit_status(prog, lambda: chat(options))


def chat(options: argparse.Namespace) -> int:
    """Answers lines until they end."""
    beginning = [{"role": "system", "content": options.system}] if options.system else []
    history = list(beginning)
    with opened(options) as model, model.prefix_cache(options.cache) as cache:
        if model.tokenizer is None:
            raise TokenizerError(f"{model.name} has no tokenizer.json, and so no text")
        policy = chosen(options, model)
        for question in _questions():
            if not question.strip():
                history = list(beginning)
                continue
            said = {"role": "user", "content": question.strip()}
            try:
                answer = _answer(model, policy, cache, [*history, said], options)
            except (Error, KeyboardInterrupt) as problem:
                if not is_terminal(sys.stdin):
                    raise
                print(f"\n  [{str(problem) or 'stopped'}]")
            else:
                history += [said, {"role": "assistant", "content": answer}]
    return 0


def _answer(
    model: Model, policy: Policy, cache: PrefixCache, history: list[dict[str, str]], options: argparse.Namespace
) -> str:
    """Shows the answer as it comes, and returns it."""
    tokenizer = model.tokenizer
    assert tokenizer is not None
    prompt = tokenizer.chat(history, thinking=options.thinking)
    lengths: Any = {"gen_length": options.gen_length, "block_length": options.block_length}
    with model.decoder(prompt, policy, prefix_cache=cache, **lengths) as decoder:
        screen = Screen()
        try:
            for settled, draft in model.text_stream(mask=MASK).follow(decoder):
                screen.show(settled, draft)
        except BaseException:
            screen.wipe()
            raise
        read = f"{decoder.reused_positions} of {decoder.prompt_length} tokens read before"
        print(f"\n  [{read}; {took(decoder.result)}]")
        return decoder.text


def _questions() -> Iterator[str]:
    """Lines of stdin, until it ends; asked for where somebody is there to answer."""
    if not is_terminal(sys.stdin):
        for line in sys.stdin:
            print(f"> {line.rstrip()}")
            yield line
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (lines can be edited, and found again)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return
