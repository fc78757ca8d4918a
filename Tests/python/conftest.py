"""What the tests share: the package from the checkout, the conformance checkpoints, a reader for safetensors."""

from __future__ import annotations

import json
import signal
import struct
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = ROOT / "Tests" / "Fixtures" / "conformance"
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import llada  # noqa: E402

CHECKPOINTS = ("gqa_group", "mha_nogroup", "mini_like")


@cache
def runs(name: str) -> list:
    return json.loads((CONFORMANCE / name / "decode.json").read_text())


def load(name: str, **options) -> llada.Model:
    """A conformance checkpoint with its special ids, which its config does not hold."""
    run = runs(name)[0]
    return llada.Model.load(
        CONFORMANCE / name, mask_token_id=run["mask_id"], eos_token_id=run["eos_id"], **{"threads": 1, **options}
    )


_models: dict = {}


def model(name: str, **options) -> llada.Model:
    """The same, opened once for all tests."""
    key = (name, *sorted(options.items()))
    if key not in _models:
        _models[key] = load(name, **options)
    return _models[key]


@pytest.fixture
def gqa() -> llada.Model:
    return model("gqa_group")


def safetensors(path: Path) -> dict:
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    kinds = {"F32": np.float32, "I32": np.int32, "I64": np.int64}
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[end + t["data_offsets"][0] : end + t["data_offsets"][1]], kinds[t["dtype"]]).reshape(
            t["shape"]
        )
        for name, t in header.items()
    }


def write_checkpoint(folder: Path, config: dict, tensors: dict) -> None:
    """tensors: name -> (type, array)"""
    header, data = {}, b""
    for name, (kind, array) in tensors.items():
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def policy(run: dict) -> llada.Policy:
    """The parameters of a conformance run as a Policy. An unknown parameter is an error, not a run done wrongly."""
    given = dict(run["params"])
    if run["algo"] == "hf20":
        return llada.Policy.low_confidence(**given)
    if run["algo"] == "sglang_LowConfidence":
        # SGLang's rule is the other one with a quota of one mask a step.
        return llada.Policy.low_confidence(steps=run["block_length"], **given)
    if run["algo"] == "sglang_JointThreshold":
        names = {"edit_threshold": "editing_threshold", "max_post_edit_steps": "max_post_steps"}
        given = {names.get(name, name): value for name, value in given.items()}
        return llada.Policy.joint_threshold(**{"threshold": 0.5, "editing_threshold": 0.0, **given})
    if run["algo"] == "hf21":
        return llada.Policy.joint_threshold(**{"threshold": 0.95, "editing_threshold": 0.9, **given})
    raise ValueError(run["algo"])


def decoder(run: dict, **options) -> llada.Decoder:
    name = run["id"].split("/")[0]
    return model(name).decoder(
        run["prompt"],
        **{
            "policy": policy(run),
            "block_length": run["block_length"],
            "gen_length": run["gen_length"],
            "eos_early_stop": run.get("eos_early_stop", False),
            **options,
        },
    )


# In this run the router of the first MoE layer meets two groups of experts 1.9e-7 apart at position 41 (in f64), about
# one unit in the last place of f32. The reference's rounding fell on the other side of it than ours, PyTorch's on other
# machines, and f64. With that one choice turned around, the step that differs is the reference's.
NEAR_TIES = {"hf21-gqa_group/B32/tail/nt3"}


def cases(*algorithms: str) -> list:
    def marks(name: str) -> list:
        return [pytest.mark.xfail(reason="a tie in the router, up to rounding")] if name in NEAR_TIES else []

    return [
        pytest.param(run, id=(key := f"{run['algo']}-{run['id']}"), marks=marks(key))
        for name in CHECKPOINTS
        for run in runs(name)
        if run["algo"] in algorithms
    ]


def heed_ctrl_c() -> None:
    """In a process that is about to begin: Ctrl-C ends it, also where a shell that works in the background has it
    ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ids(name: str) -> dict:
    run = runs(name)[0] if name != "block_route" else {"mask_id": 127, "eos_id": 126}
    return {"mask_token_id": run["mask_id"], "eos_token_id": run["eos_id"], "threads": 2}


def write_merged(folder: Path, name: str) -> None:
    """A conformance model with the experts of a layer in stacks, as dFactory merges them."""
    tensors, stacks = {}, {}
    for key, array in safetensors(CONFORMANCE / name / "model.safetensors").items():
        before, experts, rest = key.partition(".mlp.experts.")
        if experts:
            expert, kind, _ = rest.split(".")
            stacks.setdefault(f"{before}.mlp.experts.{kind}", {})[int(expert)] = array
        else:
            tensors[key] = ("F32", array)
    for key, arrays in stacks.items():
        tensors[key] = ("F32", np.stack([arrays[index] for index in range(len(arrays))]))
    write_checkpoint(folder, json.loads((CONFORMANCE / name / "config.json").read_text()), tensors)
