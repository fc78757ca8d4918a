"""Answers one question, and says nothing else.

llada run MODEL "What is 17 plus 25?"
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import TokenizerError
from ..generation import Generation
from ..progress import is_terminal
from .screen import MASK, Screen
from .shell import add_generation, add_model, chosen, exit_status, opened


def parser(prog: str) -> argparse.ArgumentParser:
    """Of the command line."""
    options = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").partition("\n")[0])
    add_model(options)
    options.add_argument("question", nargs="?", help="the question; all of stdin, if there is none")
    add_generation(options)
    options.add_argument("--raw", action="store_true", help="the text as it is, not as a question in the chat layout")
    options.add_argument("--json", action="store_true", help="the answer, and what it took, as a line of JSON")
    return options


def main(arguments: list[str] | None = None, prog: str = "python -m llada run") -> int:
    """The command; returns its exit status."""
    options = parser(prog).parse_args(arguments)
    return exit_status(prog, lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Prints the answer."""
    question = sys.stdin.read() if options.question is None else options.question
    with opened(options) as model:
        tokenizer = model.tokenizer
        if tokenizer is None:
            raise TokenizerError(f"{model.name} has no tokenizer.json, and so no text")
        if options.raw:
            prompt = tokenizer.encode(question)
        else:
            system = [{"role": "system", "content": options.system}] if options.system else []
            prompt = tokenizer.chat([*system, {"role": "user", "content": question}], thinking=options.thinking)
        policy = chosen(options, model)
        lengths: Any = {"gen_length": options.gen_length, "block_length": options.block_length}
        with model.decoder(prompt, policy, **lengths) as decoder:
            if options.json:
                print(json.dumps(_told(decoder.run().result), ensure_ascii=False))
                return 0
            screen = Screen()
            for settled, draft in model.text_stream(mask=MASK).follow(decoder):
                screen.show(settled, draft)
            print()
            if is_terminal(sys.stderr):
                print(took(decoder.result), file=sys.stderr)
    return 0


def took(answer: Generation) -> str:
    """What an answer took, for people."""
    return f"{len(answer.tokens)} tokens in {answer.forwards} forwards, {answer.tpf:.2f} each; {answer.edits} edits"


def _told(answer: Generation) -> dict[str, Any]:
    return {
        "text": answer.text,
        "tokens": answer.tokens.tolist(),
        "finish_reason": answer.finish_reason,
        "forwards": answer.forwards,
        "tpf": answer.tpf,
        "edits": answer.edits,
    }
