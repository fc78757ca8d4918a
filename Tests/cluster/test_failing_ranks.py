"""Ranks that die, hang or differ: who says so, after how long, and what goes on.

Ranks run in a shell that outlives them: mpiexec ends all ranks as soon as one that it has started is gone, which would
leave nothing to test; on other process managers the others live on."""

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
from ranks import HERE, WORKER, alone, first_result, launch, run, wait_for

from conftest import CONFORMANCE

TIMEOUT = 1.5
# Notes rank and process; then, once the rank has ended, its status.
KEPT = [
    "sh",
    "-c",
    'echo "$PMI_RANK $$" >> "$CLUSTER_PIDS"; "$@"; echo "$PMI_RANK $?" >> "$CLUSTER_ENDS"; sleep 60',
    "w",
]


class Ranks:
    """A cluster whose ranks' ends are seen."""

    def __init__(self, folder: Path, task: str, ranks: int, timeout: float = TIMEOUT, **more: str) -> None:
        self.pids, self.ends = folder / "pids", folder / "ends"
        self.ready, self.go = folder / "ready", folder / "go"
        self.hit: int | None = None
        self.size = ranks
        self.process = launch(
            task,
            "mini_like",
            "int8",
            ranks,
            worker=[*KEPT, *WORKER, "--timeout", str(timeout)],
            before=KEPT,
            CLUSTER_PIDS=str(self.pids),
            CLUSTER_ENDS=str(self.ends),
            CLUSTER_READY=str(self.ready),
            CLUSTER_GO=str(self.go),
            CLUSTER_TIMEOUT=str(timeout),
            **more,
        )

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        for number in [*self._numbers().values(), self.hit]:
            if number:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def _numbers(self) -> dict[int, int]:
        """The processes that have not ended, by rank."""
        found = {}
        for line in self.pids.read_text().splitlines() if self.pids.exists() else ():
            rank, shell = line.split()
            with contextlib.suppress(OSError, IndexError):
                found[int(rank)] = int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])
        return found

    def hurt(self, rank: int, signal_: int) -> None:
        self.hit = self._numbers()[rank]
        os.kill(self.hit, signal_)

    def ended(self) -> dict[int, int]:
        """The statuses of the ranks that have ended."""
        if not self.ends.exists():
            return {}
        return {
            int(rank): int(status) for rank, status in (line.split() for line in self.ends.read_text().splitlines())
        }

    def expect_ends(self, ranks: set[int], seconds: float) -> dict[int, int]:
        wait_for(lambda: ranks <= self.ended().keys(), seconds)
        return self.ended()


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("ranks, victim", [(2, 1), (4, 1), (4, 2), (4, 3)])
def test_a_rank_that_dies_or_hangs(signal_, ranks, victim, tmp_path):
    """While rank 0 decodes."""
    with Ranks(tmp_path, "faults", ranks) as cluster:
        wait_for(cluster.ready.exists)
        time.sleep(0.2)
        cluster.hurt(victim, signal_)
        found = first_result(cluster.process)
        assert found["error"] == "ClusterError"
        # Where messages are copied from the other process's memory, MPI sees at once that it is gone.
        said = found["message"]
        assert f"rank {victim} " in said, found
        assert f"has not answered for {TIMEOUT} s" in said or "MPI cannot" in said, found
        assert found["waited"] < TIMEOUT + 2 and found["again"] == found["message"] and found["again_after"] < 0.5
        assert found["resumed"], "the snapshot goes on without the cluster, as if nothing had happened"
        others = set(range(1, ranks)) - {victim}
        assert all(status == 1 for rank, status in cluster.expect_ends(others, 10).items() if rank in others)


@pytest.mark.parametrize("stage", ["opening", "idle", "closing"])
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_fails_between_steps(signal_, stage, tmp_path):
    """While rank 0 waits for it to open the model; while nothing is asked of it; and before it is told to end."""
    with Ranks(tmp_path, stage, 3) as cluster:
        wait_for(cluster.ready.exists)
        cluster.hurt(2, signal_)
        cluster.go.touch()
        found = first_result(cluster.process)
        assert found["seconds"] < TIMEOUT + 3, found
        if stage != "closing":
            assert found["error"] == "ClusterError" and "rank 2 " in found["message"], found
        cluster.expect_ends({0, 1}, 10)


@pytest.mark.parametrize("stage", ["opening", "idle"])
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_rank_0_that_fails_while_others_wait(signal_, stage, tmp_path):
    """Workers that wait for what to do end by themselves: nothing is heard of rank 0."""
    with Ranks(tmp_path, stage, 3) as cluster:
        wait_for(cluster.ready.exists)
        time.sleep(0.3)
        start = time.monotonic()
        cluster.hurt(0, signal_)
        ended = cluster.expect_ends({1, 2}, 15)
        assert time.monotonic() - start < TIMEOUT + 3
        assert ended[1] == ended[2] == 1, "they say that they have not been dismissed"
        cluster.process.kill()
        said = cluster.process.stdout.read() if signal_ == signal.SIGKILL else ""
        assert not said or said.count(f"nothing was heard of rank 0 for {TIMEOUT} s") == 2, said


@pytest.fixture(scope="module")
def failing_mpi(tmp_path_factory) -> str:
    """MPI's library, with failing_mpi.c before it."""
    named = os.environ.get("LLADA_MPI_LIBRARY") or str(Path(sys.prefix) / "lib" / "libmpi_abi.so.1")
    library = tmp_path_factory.mktemp("mpi") / "libfailing_mpi.so"
    command = [*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += [str(HERE / "failing_mpi.c"), "-o", str(library), "-Wl,--no-as-needed", named, "-ldl"]
    command += [f"-Wl,-rpath,{Path(named).parent}"]
    subprocess.run(command, check=True)
    return str(library)


def stages(calls: list[tuple[int, str, int, int]]) -> dict[str, int]:
    """The first call of each kind, those in the middle and at the end of the sums, and the last of all."""
    sums = [call for call in calls if call[2] >= 16]
    taken = [call for call in calls if call[1] == "take"]
    found: dict[str, int] = {}
    for number, function, tag, peer in calls:
        what = {0: "", 1: " hello", 2: " order", 3: " answer"}.get(tag, " sums" if tag >= 16 else " end")
        found.setdefault(f"{function}{what}{f' of {peer}' if tag >= 16 else ''}", number)
    found["sums in the middle"] = sums[len(sums) // 2][0]
    found["last sums"] = sums[-1][0]
    if taken:
        found["order in the middle"] = taken[len(taken) // 2][0]
        found["last order"] = taken[-1][0]
    found["last"] = calls[-1][0]
    return found


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_rank_that_fails_at_any_message(victim, signal_, failing_mpi, tmp_path):
    """From joining to leaving: no call waits for ever, no token is wrong, what was decoded goes on alone, and the other
    ranks end. (MPI_Finalize comes after that; what waits in it is MPI's, and mpiexec ends it.)"""
    expected = alone("mini_like", "int8", task="stages alone")["tokens"]
    trace = tmp_path / "trace"
    more = {"LLADA_MPI_LIBRARY": failing_mpi, "FAIL_RANK": str(victim), "FAIL_SIGNAL": str(int(signal_))}
    run("stages", "mini_like", "int8", 3, FAIL_TRACE=str(trace), **more)
    calls = [(int(n), f, int(tag), int(peer)) for n, f, tag, peer in map(str.split, trace.read_text().splitlines())]
    # At last rank 0 tells each that all are ready to leave. Who has heard it goes to MPI_Finalize.
    points = stages(calls[: -2 if victim == 0 else -1])
    assert len(points) > 8, points
    for stage, number in points.items():
        folder = tmp_path / stage
        folder.mkdir()
        with Ranks(folder, "stages", 3, FAIL_AT=str(number), **more) as cluster:
            others = {0, 1, 2} - {victim}
            ended = cluster.expect_ends(others, 20)
            if victim == 0:
                assert all(ended[rank] == 1 for rank in others), (stage, ended)
                continue
            found = first_result(cluster.process)
            assert found.get("tokens", expected) == expected, stage
            said = found.get("message", "")
            # The last calls come after all tokens.
            assert f"rank {victim} " in said or "not all ranks" in said or "tokens" in found, (stage, found)
            assert found["seconds"] < 10, (stage, found)


def test_another_cluster_goes_on(tmp_path, failing_mpi):
    """From the snapshot that is made after a rank has died, on another number of ranks."""
    expected = alone("mini_like", "int8", task="stages alone")["tokens"]
    snapshot = tmp_path / "snapshot"
    more = {"LLADA_MPI_LIBRARY": failing_mpi, "FAIL_RANK": "1", "FAIL_SIGNAL": str(int(signal.SIGKILL))}
    with Ranks(tmp_path, "stages", 2, FAIL_AT="40", CLUSTER_SNAPSHOT=str(snapshot), **more) as cluster:
        found = first_result(cluster.process)
        assert found["error"] == "ClusterError" and found["tokens"] == expected
    found = run("resume", "mini_like", "int8", 3, CLUSTER_SNAPSHOT=str(snapshot))
    assert found["tokens"] == expected


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
