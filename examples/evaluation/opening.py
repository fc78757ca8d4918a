"""How long a folder takes to open, beside how long Hugging Face's tokenizers take to read its tokenizer.json alone.

    python3 examples/evaluation/opening.py MODEL [--rounds 5]

The two take turns, each in a process that has imported them. Prints the median and the range of the time by the clock,
and the median of the processor's, which shows less of what else the machine does. Wants: pip install tokenizers
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))
import llada  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    file = str(Path(options.model) / "tokenizer.json")
    ways = {
        "llada, the whole folder": lambda: llada.Model.load(options.model, progress=False).close(),
        f"tokenizers {tokenizers.__version__}, tokenizer.json": lambda: tokenizers.Tokenizer.from_file(file),
    }
    clock, processor = {way: [] for way in ways}, {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, work in ways.items():
            started, used = time.perf_counter(), time.process_time()
            work()
            clock[way].append(time.perf_counter() - started)
            processor[way].append(time.process_time() - used)
    print("| | s | range | processor, s |\n|---|---|---|---|")
    for way, times in clock.items():
        cells = f"{statistics.median(times):.2f} | {min(times):.2f}–{max(times):.2f}"
        print(f"| {way} | {cells} | {statistics.median(processor[way]):.2f} |")


if __name__ == "__main__":
    main()
