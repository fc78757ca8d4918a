"""Several ranks under mpiexec: the same bits as one process, and the bytes of a step."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from ranks import HERE, MPIEXEC, WORKER, alone, bytes_of, environment, equal_starts, run

import llada
import test_fp8
from conftest import CONFORMANCE, write_checkpoint
from gguf_files import Type, write_gguf, write_meaning

MODELS = ("mini_like", "gqa_group", "mha_nogroup", "block_route")
SAME = ("logits", "snapshot", "tokens")


@pytest.mark.parametrize("dtype", ["auto", "bf16", "int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_on_any_number_of_ranks(name, dtype):
    expected = alone(name, dtype)
    for ranks in (1, 2, 3, 4, 8) if dtype in ("auto", "int4") else (1, 2, 3, 4):
        more = {"CLUSTER_CONFORMANCE": "1"} if dtype == "auto" and ranks < 8 else {}
        found = run("answers", name, dtype, ranks, **more)
        assert found["info"]["size"] == ranks
        assert {key: found[key] for key in SAME} == {key: expected[key] for key in SAME}, ranks
        if more and name != "block_route":
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


@pytest.mark.parametrize("ranks", [2, 3])
def test_experts_that_stay_in_their_file(ranks, tmp_path):
    """On all ranks."""
    folder = tmp_path / "model"
    with llada.Model.load(CONFORMANCE / "gqa_group", dtype="int4") as model:
        model.save(folder)
    expected = alone("gqa_group", "auto", folder)
    found = run("answers", "gqa_group", "auto", ranks, folder, [*WORKER, "--use-mmap"], CLUSTER_MMAP="1")
    assert {key: found.get(key) for key in SAME} == {key: expected[key] for key in SAME}, found


def test_threads_take_turns():
    """Four threads decode with one model over one cluster."""
    expected = alone("mini_like", "int8", task="threads alone")["threads"]
    found = run("threads", "mini_like", "int8", 3)
    assert len(expected) == 4 and found["threads"] == expected, found


def test_rank_0_may_have_nothing_to_do():
    """The other ranks know that it is there, and wait for longer than their timeout."""
    expected = alone("mini_like", "int8")
    found = run("patience", "mini_like", "int8", 3, None, [*WORKER, "--timeout", "1"], CLUSTER_TIMEOUT="1")
    assert {key: found.get(key) for key in SAME} == {key: expected[key] for key in SAME}, found


@pytest.mark.parametrize("level", ["FUNNELED", "MULTIPLE"])
def test_communicators_of_the_host(level):
    """A program that has initialised MPI makes two clusters of its processes, with their ranks turned round."""
    expected = alone("mini_like", "int8")
    program = [sys.executable, str(HERE / "host.py"), str(CONFORMANCE / "mini_like"), level]
    output = subprocess.run(
        [MPIEXEC, "-n", "5", *program], env=environment(), capture_output=True, text=True, timeout=60, check=True
    ).stdout
    found = [json.loads(line[len("FOUND ") :]) for line in output.splitlines() if line.startswith("FOUND ")]
    assert [each["size"] for each in sorted(found, key=lambda each: each["size"])] == [2, 3], output
    for each in found:
        assert {key: each[key] for key in SAME} == {key: expected[key] for key in SAME}
        assert ("initialised for one thread" in each["thread"]) == (level == "FUNNELED"), each["thread"]


def starts_by_usage(counts: list[int], k: int, shares: list[float]) -> list[int]:
    """Each cut is where the experts before it cost what is nearest to their ranks' part of all; a rank has one at
    least. An expert costs the probability that a step of 32 positions reads it."""
    p = np.minimum(np.array(counts) / sum(counts) * k, 1)
    before = np.concatenate([[0], np.cumsum(1 - (1 - p) ** 32)])
    starts = [0]
    for rank in range(1, len(shares)):
        wanted = before[-1] * sum(shares[:rank]) / sum(shares)
        possible = range(starts[-1] + 1, len(counts) - (len(shares) - rank) + 1)
        starts.append(min(possible, key=lambda cut: abs(before[cut] - wanted)))
    return [*starts, len(counts)]


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_the_bytes_of_a_step(ranks):
    found = run("formula", "mini_like", "auto", ranks)
    assert (found["sent"], found["received"]) == bytes_of(found, lambda layer: equal_starts(32, ranks), ranks)


@pytest.mark.parametrize("shares", [[1, 1], [1, 1, 1], [1, 4, 2], [20, 1, 1, 1]])
def test_a_placement_by_usage(shares):
    """What is sent shows which rank has which experts; results are those of any other placement."""
    expected = alone("mini_like", "auto")
    found = run("usage", "mini_like", "auto", len(shares), CLUSTER_SHARES=json.dumps(shares))
    assert {key: found.get(key) for key in SAME} == {key: expected[key] for key in SAME}, found

    def starts(layer: int) -> list[int]:
        return starts_by_usage(found["usage"][layer], 8, shares)

    assert starts(2) != starts(3) or starts(2) != equal_starts(32, len(shares)), "usage changes the placement"
    assert (found["sent"], found["received"]) == bytes_of(found, starts, len(shares))


def test_usage_of_another_model():
    found = run("answers", "mini_like", "auto", 2, CLUSTER_USAGE="[[1, 2, 3]]")
    assert found["error"] == "InvalidArgumentError", found
    assert "expert_usage has 3 counts; expected 128, for 32 experts of 4 layers" in found["message"]
    for none in ([[0.5]], [-1]):
        with pytest.raises(llada.InvalidArgumentError, match="integers from 0 on"):
            llada.Model.load(CONFORMANCE / "mini_like", expert_usage=none)
