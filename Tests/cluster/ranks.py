"""Several ranks under mpiexec, for the tests: rank 0 runs program.py, the others are workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from conftest import CONFORMANCE, ROOT

HERE = Path(__file__).parent
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
WORKER = [sys.executable, "-m", "llada.worker", "--threads", "1"]


def environment(**more: str) -> dict[str, str]:
    path = f"{ROOT / 'bindings' / 'python'}:{ROOT / 'Tests' / 'python'}"
    return os.environ | {"PYTHONPATH": path} | more


def result(output: str) -> dict:
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    assert lines, output
    # mpiexec may put another rank's words behind it.
    return json.JSONDecoder().raw_decode(lines[-1][len("RESULT ") :])[0]


def first_result(process: subprocess.Popen) -> dict:
    """What rank 0 says, while other ranks still run."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("RESULT "):
            break
    return result("".join(lines))


def launch(
    task: str, name: str, dtype: str, ranks: int, folder=None, worker=None, before=(), **more: str
) -> subprocess.Popen:
    """Starts them. `before` stands before rank 0's program."""
    program = [sys.executable, str(HERE / "program.py"), task, str(folder or CONFORMANCE / name), name, dtype]
    command = [MPIEXEC, "-n", "1", *before, *program]
    if ranks > 1:
        command += [":", "-n", str(ranks - 1), *(worker or WORKER)]
    return subprocess.Popen(
        command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(*arguments, **more) -> dict:
    process = launch(*arguments, **more)
    output, _ = process.communicate(timeout=100)
    return result(output)


def alone(name: str, dtype: str, folder=None, task: str = "alone") -> dict:
    program = [sys.executable, str(HERE / "program.py"), task, str(folder or CONFORMANCE / name), name, dtype]
    return result(subprocess.run(program, env=environment(), capture_output=True, text=True, check=True).stdout)


def wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def equal_starts(experts: int, ranks: int) -> list[int]:
    return [rank + round((experts - ranks) * rank / ranks) for rank in range(ranks)] + [experts]


def bytes_of(found: dict, starts_of, ranks: int) -> tuple[int, int]:
    """What rank 0 sends and receives, by the formula of docs/cluster.md. `starts_of` has the placement of a layer."""
    config = json.loads((CONFORMANCE / "mini_like" / "config.json").read_text())
    k, hidden, first = config["num_experts_per_tok"], config["hidden_size"], config["first_k_dense_replace"]
    sent = received = 0
    for number, layer in enumerate(found["experts"], first):
        starts = starts_of(number)
        owner = [next(r for r in range(ranks) if starts[r] <= e < starts[r + 1]) for e in range(starts[-1])]
        for rank in range(1, ranks):
            rows = sum(any(owner[e] == rank for e in row) for row in layer)
            if rows:
                head = -(-(64 + 4 * rows + 8 * k * rows) // 64) * 64
                sent += head + rows * 4 * hidden
        away = sum(any(owner[e] > 0 for e in row) for row in layer)
        sent += away * 4 * hidden
        received += away * 4 * hidden
    return sent, received
