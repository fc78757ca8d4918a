"""A file of prompts to a file of answers, several at a time. A prompt is a line, or, in a .jsonl file, the "prompt" (or
"question", or "messages") of an object.

    python3 examples/python/batch.py examples/models/held_out.jsonl answers.jsonl --limit 100
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada

KEYS = ("prompt", "question", "messages")


def rows(path: Path):
    """An object for each prompt, read as they are asked for."""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row = json.loads(line) if path.suffix == ".jsonl" else {"prompt": line.strip()}
            if not any(key in row for key in KEYS):
                sys.exit(f"{path}:{number}: none of {', '.join(KEYS)} in it")
            yield row


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("prompts", type=Path)
    options.add_argument("answers", type=Path, help="JSONL; what stands there is kept, and skipped: to go on with")
    options.add_argument(
        "--model", default=checkout / "examples" / "models" / "tiny-2.1", help="a llada2_moe checkpoint"
    )
    options.add_argument("--gen-length", type=int, default=128, help="tokens at most")
    options.add_argument("--in-flight", type=int, default=8, help="prompts at a time")
    options.add_argument("--limit", type=int, help="no more prompts than that")
    choice = options.parse_args()

    there = len(choice.answers.read_text(encoding="utf-8").splitlines()) if choice.answers.exists() else 0
    asked, waiting = [], islice(rows(choice.prompts), there, choice.limit)

    def prompts():
        for row in waiting:
            asked.append(row)
            yield next(row[key] for key in KEYS if key in row)

    started, tokens, forwards = time.monotonic(), 0, 0
    with llada.Model.load(choice.model) as model, open(choice.answers, "a", encoding="utf-8") as file:
        answers = model.stream_many(
            prompts(), llada.Policy.speedy(), gen_length=choice.gen_length, in_flight=choice.in_flight
        )
        count = 0
        for answer in answers:
            count += 1
            tokens, forwards = tokens + len(answer.tokens), forwards + answer.forwards
            row = asked.pop(0)  # answers come in the order of the prompts
            print(json.dumps({**row, "answer": answer.text}, ensure_ascii=False), file=file, flush=True)
    seconds = time.monotonic() - started
    per_forward = tokens / max(1, forwards)
    print(f"{count} answers in {seconds:.1f} s: {tokens / seconds:.0f} tokens/s, {per_forward:.2f} per forward")


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt, OSError) as problem:
        sys.exit(str(problem) or "stopped: the same command goes on")
