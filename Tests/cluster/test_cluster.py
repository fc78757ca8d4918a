"""Several ranks under mpiexec: the same bits as one process, the bytes of a step, and ranks that die, hang or differ.

Workers run in a shell that outlives them: mpiexec ends all ranks as soon as one that it has started is gone, which
would leave nothing to test; on other process managers rank 0 lives on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import llada
import test_fp8
from conftest import CONFORMANCE, ROOT, write_checkpoint
from gguf_files import Type, write_gguf, write_meaning

MODELS = ("mini_like", "gqa_group", "mha_nogroup", "block_route")
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


def launch(task: str, name: str, dtype: str, ranks: int, folder=None, worker=None, **more: str) -> subprocess.Popen:
    program = [sys.executable, str(HERE / "program.py"), task, str(folder or CONFORMANCE / name), name, dtype]
    command = [MPIEXEC, "-n", "1", *program]
    if ranks > 1:
        command += [":", "-n", str(ranks - 1), *(worker or WORKER)]
    return subprocess.Popen(
        command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(*arguments, **more) -> dict:
    process = launch(*arguments, **more)
    output, _ = process.communicate(timeout=100)
    return result(output)


def alone(name: str, dtype: str, folder=None) -> dict:
    program = [sys.executable, str(HERE / "program.py"), "alone", str(folder or CONFORMANCE / name), name, dtype]
    return result(subprocess.run(program, env=environment(), capture_output=True, text=True, check=True).stdout)


SAME = ("logits", "snapshot", "tokens")


@pytest.mark.parametrize("dtype", ["auto", "bf16", "int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_on_any_number_of_ranks(name, dtype):
    expected = alone(name, dtype)
    for ranks in (1, 2, 3, 4):
        found = run("answers", name, dtype, ranks, **({} if dtype != "auto" else {"CLUSTER_CONFORMANCE": "1"}))
        assert found["info"]["size"] == ranks
        assert {key: found[key] for key in SAME} == {key: expected[key] for key in SAME}, ranks
        if dtype == "auto" and name != "block_route":
            assert found["runs"] > 10  # of the reference implementation


def test_shares_of_the_experts():
    expected = alone("mini_like", "int8")
    found = run("answers", "mini_like", "int8", 3, CLUSTER_SHARES="[1, 20, 3]")
    assert {key: found[key] for key in SAME} == {key: expected[key] for key in SAME}
    found = run("answers", "mini_like", "int8", 3, CLUSTER_SHARES="[1, 2]")
    assert found["error"] == "InvalidArgumentError" and "2 shares; expected 3" in found["message"]


def mixed(name: str) -> Type:
    return Type.Q4_0 if "_exps" in name else Type.Q8_0 if "ffn_" in name else Type.F32


@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("packed", "auto"),
        ("gguf", "auto"),
        ("gguf", "int8"),
        ("stack", "auto"),
        ("stack", "int4"),
        ("fp8", "auto"),
        ("fp8", "int8"),
    ],
)
def test_other_containers(kind, dtype, tmp_path):
    """Experts in stacks, in blocks, packed, and in float8, of which each rank reads a part."""
    folder = tmp_path / "model"
    if kind == "packed":
        with llada.Model.load(CONFORMANCE / "gqa_group", dtype="int4") as model:
            model.save(folder)
    elif kind == "fp8":
        write_checkpoint(
            folder, test_fp8.CONFIG | {"quantization_config": test_fp8.QUANTIZATION}, test_fp8.checkpoint()[0]
        )
    else:
        meaning = write_gguf(tmp_path / "model.gguf", kinds=mixed)
        folder = tmp_path / "model.gguf" if kind == "gguf" else write_meaning(folder, meaning)
    expected = alone("gqa_group", dtype, folder)
    for ranks in (2, 4):
        found = run("answers", "gqa_group", dtype, ranks, folder)
        assert {key: found.get(key) for key in SAME} == {key: expected[key] for key in SAME}, found


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_bytes_of_a_step(ranks):
    """docs/cluster.md has the formula."""
    found = run("formula", "mini_like", "auto", ranks)["formula"]
    config = json.loads((CONFORMANCE / "mini_like" / "config.json").read_text())
    experts, k, hidden = config["num_experts"], config["num_experts_per_tok"], config["hidden_size"]
    starts = [rank + round((experts - ranks) * rank / ranks) for rank in range(ranks)] + [experts]
    owner = [next(r for r in range(ranks) if starts[r] <= e < starts[r + 1]) for e in range(experts)]
    sent = received = 0
    for layer in found["experts"]:
        for rank in range(1, ranks):
            rows = sum(any(owner[e] == rank for e in row) for row in layer)
            if rows:
                head = -(-(64 + 4 * rows + 8 * k * rows) // 64) * 64
                sent += head + rows * 4 * hidden
        away = sum(any(owner[e] > 0 for e in row) for row in layer)
        sent += away * 4 * hidden
        received += away * 4 * hidden
    assert (found["sent"], found["received"]) == (sent, received)


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("ranks, victim", [(2, 1), (4, 1), (4, 2), (4, 3)])
def test_a_rank_that_dies_or_hangs(signal_, ranks, victim, tmp_path):
    ready, pids = tmp_path / "ready", tmp_path / "pids"
    worker = ["sh", "-c", 'echo "$PMI_RANK $$" >> "$CLUSTER_PIDS"; "$@" --timeout 2; echo "STATUS $?"; sleep 40', "w"]
    process = launch(
        "faults",
        "mini_like",
        "int8",
        ranks,
        worker=worker + WORKER,
        CLUSTER_READY=str(ready),
        CLUSTER_PIDS=str(pids),
        CLUSTER_TIMEOUT="2",
    )
    hit = None
    try:
        wait_for(ready.exists)
        time.sleep(0.2)
        hit = process_of(victim, pids)
        os.kill(hit, signal_)
        found = first_result(process)
        assert found["error"] == "ClusterError"
        assert f"rank {victim} " in found["message"] and "has not answered for 2.0 s" in found["message"], found
        assert found["waited"] < 4 and found["again"] == found["message"] and found["again_after"] < 0.5
        assert found["resumed"], "the snapshot goes on without the cluster, as if nothing had happened"
    finally:
        if hit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hit, signal.SIGKILL)
        process.kill()


@pytest.mark.parametrize("stage", ["opening", "idle", "closing"])
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_fails_between_steps(signal_, stage, tmp_path):
    """While rank 0 waits for it to open the model; while nothing is asked of it; and before it is told to end."""
    ready, pids, go = tmp_path / "ready", tmp_path / "pids", tmp_path / "go"
    worker = ["sh", "-c", 'echo "$PMI_RANK $$" >> "$CLUSTER_PIDS"; "$@" --timeout 2; sleep 40', "w"]
    process = launch(
        stage,
        "mini_like",
        "int8",
        3,
        worker=worker + WORKER,
        CLUSTER_READY=str(ready),
        CLUSTER_PIDS=str(pids),
        CLUSTER_GO=str(go),
        CLUSTER_TIMEOUT="2",
    )
    hit = None
    try:
        wait_for(ready.exists)
        hit = process_of(2, pids)
        os.kill(hit, signal_)
        go.touch()
        found = first_result(process)
        assert found["seconds"] < 6, found
        if stage != "closing":
            assert found["error"] == "ClusterError" and "rank 2 " in found["message"], found
    finally:
        if hit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hit, signal.SIGKILL)
        process.kill()


def process_of(rank: int, pids: Path) -> int:
    """The process of a rank that runs inside a shell, which has noted its own number."""
    shell = dict(line.split() for line in pids.read_text().splitlines())[str(rank)]
    return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])


def wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_mpiexec_ends_all_when_one_dies(tmp_path):
    ready, pids = tmp_path / "ready", tmp_path / "pids"
    worker = ["sh", "-c", 'echo "$$" >> "$CLUSTER_PIDS"; exec "$@"', "w", *WORKER]
    process = launch("faults", "mini_like", "int8", 3, worker=worker, CLUSTER_READY=str(ready), CLUSTER_PIDS=str(pids))
    wait_for(ready.exists)
    os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode != 0


def test_another_model(tmp_path):
    """The same config and shapes, another expert: rank 0 says which rank has it, and the others end."""
    other = tmp_path / "other"
    shutil.copytree(CONFORMANCE / "mini_like", other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    name = next(name for name in header if ".experts.31.gate_proj" in name)
    first, last = header[name]["data_offsets"]
    middle = 8 + int.from_bytes(weights[:8], "little") + (first + last) // 2
    weights[middle] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    found = run("answers", "mini_like", "int8", 2, worker=[*WORKER, str(other)])
    assert found["error"] == "ClusterError" and "rank 1 " in found["message"], found
    assert "is another model than that of rank 0" in found["message"]
    found = run("answers", "mini_like", "int8", 2, worker=[*WORKER, str(CONFORMANCE / "gqa_group")])
    assert found["error"] == "ClusterError" and "rank 1 " in found["message"], found
    found = run("answers", "mini_like", "int8", 2, worker=[*WORKER, str(tmp_path / "none")])
    assert found["error"] == "ClusterError" and str(tmp_path / "none") in found["message"], found


def test_another_version():
    """A rank whose first message says another version."""
    found = run("answers", "mini_like", "int8", 2, worker=[sys.executable, str(HERE / "other_version.py")])
    assert found["error"] == "ClusterError"
    assert "rank 1 has llada 9.8.7; expected 0." in found["message"], found


def test_a_rank_that_never_comes():
    """It joins, and then serves nothing."""
    found = run(
        "answers",
        "mini_like",
        "int8",
        2,
        worker=[sys.executable, str(HERE / "other_version.py"), "silent"],
        CLUSTER_TIMEOUT="1",
    )
    assert found["error"] == "ClusterError" and "rank 1" in found["message"], found
    assert found["seconds"] < 5
