"""The scripts of examples/python for Ray, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys

from conftest import ROOT

HELD_OUT = "examples/models/held_out.jsonl"


def example(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"examples/python/{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_evaluate(tmp_path):
    said = example("ray_evaluate.py", HELD_OUT, "--limit", "30", "--out", str(tmp_path / "answers"))
    right = re.search(r"(\d+) of 30 right, 0 not answered", said)
    assert right and int(right[1]) >= 27 and list((tmp_path / "answers").glob("*.parquet"))


def test_rollouts():
    models = "examples/models/tiny-2.1", "examples/models/tiny-2.1-rl"
    said = example("ray_rollouts.py", HELD_OUT, *models, "--limit", "8", "--samples", "4")
    rewards = [float(word) for word in re.findall(r"32 answers, reward ([\d.]+)", said)]
    assert len(rewards) == 2 and all(0 < reward <= 1 for reward in rewards)
    assert re.search(r"gain of examples/models/tiny-2.1-rl: [+-]\d+\.\d+, of \d questions", said)
