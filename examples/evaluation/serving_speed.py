"""What a server gains by answering its clients together: the same requests one after another, and CLIENTS at a time.

    python3 -m llada.synthetic --shape mini --layers 4 made-up
    python3 examples/evaluation/serving_speed.py made-up --dtype int8 --clients 16

Each request has its own prompt. Tokens a second are those of all answers, from the first request to the last answer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]


def ask(url: str, number: int, tokens: int, policy: str) -> dict:
    """The usage of one answer."""
    body = {
        "model": "served",
        "messages": [{"role": "user", "content": f"{number}: what is {number} plus {3 * number}?"}],
        "max_tokens": tokens,
        "llada": {"policy": policy},
    }
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["usage"]


def measured(url: str, numbers: range, at_a_time: int, options: argparse.Namespace) -> float:
    """Tokens a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        usages = list(pool.map(lambda number: ask(url, number, options.tokens, options.policy), numbers))
    took = time.perf_counter() - began
    tokens, forwards = (sum(usage[name] for usage in usages) for name in ("completion_tokens", "forwards"))
    print(
        f"{at_a_time:3} at a time: {len(numbers)} answers, {tokens} tokens, {forwards} forwards in {took:.1f} s", end=""
    )
    print(f": {tokens / took:.2f} tokens/s, {forwards / took:.2f} forwards/s")
    return forwards / took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("model", type=Path)
    options.add_argument("--dtype", default="auto")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--alone", type=int, default=4, help="requests one after another")
    options.add_argument("--tokens", type=int, default=64)
    options.add_argument("--policy", default="speedy")
    choice = options.parse_args()
    command = [sys.executable, "-m", "llada.serve", choice.model, "--name", "served", "--port", "0"]
    command += ["--dtype", choice.dtype, "--threads", choice.threads, "--running", choice.clients]
    server = subprocess.Popen(
        [str(each) for each in command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(checkout / "bindings" / "python")},
    )
    try:
        line = next(line for line in server.stderr if " at http://" in line)
        url = line.rpartition(" ")[2].strip()
        ask(url, 0, 8, choice.policy)  # what the first step allocates
        alone = measured(url, range(1000, 1000 + choice.alone), 1, choice)
        together = measured(url, range(2000, 2000 + choice.clients), choice.clients, choice)
        print(f"together {together / alone:.2f} times as many forwards a second")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
