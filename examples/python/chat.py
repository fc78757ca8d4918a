"""A chat that reads its history once: what was said before waits in a prefix cache, keys and values and all. An empty
line begins anew. (The shipped models were taught single questions: with them, begin anew each time.) In a terminal,
the draft that may still change stands dim behind what is settled.

    python3 examples/python/chat.py
    printf 'What is 17 plus 25?\\n\\nWhat is 38 plus 46?\\n' | python3 examples/python/chat.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import unicodedata
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada


def questions():
    """Lines of stdin, until it ends; asked for where somebody is there to answer."""
    if sys.stdin.isatty():
        while True:
            try:
                yield input("> ")
            except EOFError:
                return
    for line in sys.stdin:
        print(f"> {line.rstrip()}")
        yield line


class Screen:
    """Settled text as usual, and behind it, dim, the draft, which the next one replaces: in a terminal. Elsewhere,
    settled text alone."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.columns, self.rows = shutil.get_terminal_size()
        self.column, self.wrapped = 0, False  # where settled text ends

    def show(self, settled: str, draft: str) -> None:
        if not self.terminal:
            print(settled, end="", flush=True)
            return
        text, _ = self.wrap(settled, None)
        before = self.column, self.wrapped
        behind, lines = self.wrap(draft, self.rows - 2)
        self.column, self.wrapped = before
        back = (f"\x1b[{lines}A" if lines else "") + f"\x1b[{self.column + 1}G"
        print(f"\x1b[J{text}\x1b[2m{behind}\x1b[m{back}", end="", flush=True)

    def wrap(self, text: str, most: int | None) -> tuple[str, int]:
        """Text with line breaks of ours at the terminal's edge, so that we know where the cursor is; and the lines it
        goes down. What a terminal would obey is shown, not sent."""
        shown, lines = [], 0
        for each in text:
            if each != "\n" and unicodedata.category(each) == "Cc":
                each = "·"
            width = 0 if unicodedata.category(each) in ("Mn", "Cf") else 1
            width = 2 if unicodedata.east_asian_width(each) in "WF" else width
            breaks = not self.wrapped if each == "\n" else self.column + width > self.columns
            if breaks and lines == most:
                break
            if breaks:
                shown, lines, self.column = [*shown, "\n"], lines + 1, 0
            self.wrapped = False
            if each != "\n":
                shown.append(each)
                self.column += width
            if self.column == self.columns and lines != most:
                shown, lines, self.column, self.wrapped = [*shown, "\n"], lines + 1, 0, True
        return "".join(shown), lines


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument(
        "--model", default=checkout / "examples" / "models" / "tiny-2.1", help="a llada2_moe checkpoint"
    )
    options.add_argument("--system", help="a system prompt")
    options.add_argument("--thinking", action="store_true", help="tell the model to think before it answers")
    options.add_argument("--gen-length", type=int, default=128, help="tokens an answer may have")
    options.add_argument("--cache", type=int, default=1 << 30, help="bytes of keys and values to keep")
    choice = options.parse_args()

    beginning = [{"role": "system", "content": choice.system}] if choice.system else []
    history = list(beginning)
    with llada.Model.load(choice.model) as model, model.prefix_cache(choice.cache) as cache:
        for question in questions():
            if not question.strip():
                history = list(beginning)
                continue
            history.append({"role": "user", "content": question.strip()})
            prompt = model.tokenizer.chat(history, thinking=choice.thinking)
            with model.decoder(prompt, llada.Policy.speedy(), gen_length=choice.gen_length, prefix_cache=cache) as dec:
                screen = Screen()
                for settled, draft in model.text_stream(mask="░").follow(dec):
                    screen.show(settled, draft)
                print(f"\n  [{dec.reused_positions} of {dec.prompt_length} tokens read before]")
                history.append({"role": "assistant", "content": dec.text})


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
