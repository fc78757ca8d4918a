"""Text in, text out, and the canvas in between: masks (░) become tokens (green), tokens other tokens (yellow).

python3 examples/python/generate.py "What is 17 plus 25?" --mode s
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada

MODES = {
    "s": ("S mode", llada.Policy.speedy()),
    "q": ("Q mode", llada.Policy.quality()),
    "mbe": ("Q mode, multiple block editing", llada.Policy.quality(mbe_window=2)),
    "2.0": ("LLaDA2.0", llada.Policy.low_confidence()),
}


class Screen:
    """Shows a picture where the one before it was."""

    def __init__(self) -> None:
        self.height = 0

    def show(self, picture: str) -> None:
        up = f"\x1b[{self.height}A" if self.height else ""
        # Each line is overwritten and its rest wiped: nothing flickers.
        print(up + picture.replace("\n", "\x1b[K\n") + "\x1b[K\x1b[J", flush=True)
        self.height = picture.count("\n") + 1


def summary(mode: str, dec: llada.Decoder) -> str:
    answer = slice(dec.prompt_length, dec.prompt_length + dec.gen_length)
    written = int((dec.states[answer] != llada.State.MASKED).sum())
    rate = written / dec.forwards if dec.forwards else 0.0
    return f"{mode} · {dec.forwards} forwards · {written} tokens · {rate:.2f} per forward · {dec.edits} edits"


def main() -> None:
    models = checkout / "examples" / "models"
    default = next((folder.parent for folder in sorted(models.glob("*/config.json"))), None)
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("prompt", nargs="*", default=["What is 17 plus 25?"], help="a question")
    options.add_argument("--model", default=default, required=default is None, help="a llada2_moe checkpoint")
    options.add_argument("--mode", choices=MODES, default="q")
    options.add_argument("--gen-length", type=int, default=64, help="tokens at most")
    options.add_argument("--block-length", type=int, default=32)
    options.add_argument("--delay", type=float, default=0.08, help="seconds to wait between pictures")
    choice = options.parse_args()
    mode, policy = MODES[choice.mode]
    terminal = sys.stdout.isatty()
    screen = Screen()

    def watch(dec: llada.Decoder) -> None:
        if terminal:
            columns, rows = shutil.get_terminal_size()
            picture = dec.draw(columns - 1, color="NO_COLOR" not in os.environ).split("\n")
            # What has scrolled away cannot be redrawn: keep to the last lines.
            screen.show("\n".join([*picture[-(rows - 3) :], "", summary(mode, dec)]))
            time.sleep(choice.delay)
        else:
            kinds = [event.kind for event in dec.events]
            print(f"step {dec.forwards}: {kinds.count('unmask')} written, {kinds.count('replace')} replaced")

    with llada.Model.load(choice.model) as model:
        options = {"block_length": choice.block_length, "gen_length": choice.gen_length}
        answer = model.generate(" ".join(choice.prompt), policy, **options, callback=watch)
    print(f"\n{answer.text}\n")
    print(
        f"{mode}: {len(answer.tokens)} tokens in {answer.forwards} forwards: {answer.tpf:.2f} per forward (TPF), "
        f"{answer.edits} edits, finished by {answer.finish_reason}"
    )


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
