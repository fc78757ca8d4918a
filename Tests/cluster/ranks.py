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
