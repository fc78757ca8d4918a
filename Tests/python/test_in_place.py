"""Packed models whose experts stay in their file: the same bits, with less memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, ROOT, ids, load, safetensors, write_checkpoint, write_merged
from gguf_files import Type, write_gguf

PACKED = ("bf16", "int8", "int4")
TINY = ROOT / "examples" / "models" / "tiny-2.1"


def bits(model: llada.Model) -> bytes:
    return model.logits(np.arange(70) * 7 % model.vocab_size, block_length=32).tobytes()


def expert_bytes(folder) -> int:
    """Of the routed experts, by the header of the file."""
    data = (folder / "model.safetensors").read_bytes()
    entries = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    places = [entry["data_offsets"] for name, entry in entries.items() if ".mlp.experts." in name]
    return sum(end - start for start, end in places)


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("name", ["gqa_group", "mini_like", "block_route"])
def test_the_same_bits_with_less_memory(tmp_path, name, dtype):
    with llada.Model.load(CONFORMANCE / name, dtype=dtype, **ids(name)) as model:
        model.save(tmp_path / "saved")
        expected = bits(model)
    (told,) = llada.Model.describe(tmp_path / "saved")["memory"]
    with (
        llada.Model.load(tmp_path / "saved", **ids(name)) as copied,
        llada.Model.load(tmp_path / "saved", use_mmap=True, **ids(name)) as mapped,
    ):
        assert abs(mapped.memory_used - told["mmap_open_bytes"]) < 1 << 16
        assert abs(copied.memory_used - told["open_bytes"]) < 1 << 16
        saved = copied.memory_used - mapped.memory_used
        assert abs(saved - expert_bytes(tmp_path / "saved")) < 1 << 16
        assert bits(mapped) == bits(copied) == expected
        assert mapped.info.weight_bytes == copied.info.weight_bytes
        options = {"policy": llada.Policy.speedy(), "block_length": 8, "gen_length": 24}
        for prompt in [3, 1, 4], list(range(20)):
            assert (
                mapped.generate(prompt, **options).tokens.tolist() == copied.generate(prompt, **options).tokens.tolist()
            )
        # It is the same model: snapshots fit, and what is saved of it is the same file.
        with copied.decoder([3, 1, 4], **options) as dec:
            dec.step()
            assert mapped.restore(dec.to_bytes()).run().result.tokens.tolist() == dec.run().result.tokens.tolist()
        mapped.save(tmp_path / "again")
    for file in (tmp_path / "saved").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    for options in ({"threads": 1}, {"memory_limit": told["mmap_opening_bytes"] + (1 << 20)}):
        with llada.Model.load(tmp_path / "saved", use_mmap=True, **{**ids(name), **options}) as model:
            assert bits(model) == expected
    for use_mmap, limit in (None, told["opening_bytes"]), (True, told["mmap_opening_bytes"]):
        with pytest.raises(llada.OutOfMemoryError):
            llada.Model.load(tmp_path / "saved", use_mmap=use_mmap, memory_limit=limit - 1, **ids(name))


def test_experts_in_stacks(tmp_path):
    write_merged(tmp_path / "merged", "gqa_group")
    with llada.Model.load(tmp_path / "merged", dtype="int4", **ids("gqa_group")) as model:
        model.save(tmp_path / "saved")
        expected = bits(model)
    with (
        llada.Model.load(tmp_path / "saved", use_mmap=True, **ids("gqa_group")) as mapped,
        llada.Model.load(tmp_path / "saved", **ids("gqa_group")) as copied,
    ):
        saved = copied.memory_used - mapped.memory_used
        assert bits(mapped) == expected
        assert abs(saved - expert_bytes(tmp_path / "saved")) < 1 << 16


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_blocks_of_gguf(tmp_path, kind):
    """Of the file itself they are laid out anew, and so copied; of a folder that was made of it they are not."""
    write_gguf(tmp_path / "model.gguf", kinds=lambda name: Type[kind])
    used = {}
    with llada.Model.load(tmp_path / "model.gguf", use_mmap=True) as model:
        expected, used["file"] = bits(model), model.memory_used
        model.save(tmp_path / "saved")
    for use_mmap in True, None:
        with llada.Model.load(tmp_path / "saved", use_mmap=use_mmap) as model:
            assert bits(model) == expected
            used[use_mmap] = model.memory_used
    assert used[None] - used[True] >= expert_bytes(tmp_path / "saved") - (1 << 16)
    assert used["file"] - used[True] >= expert_bytes(tmp_path / "saved") - (1 << 16)


def test_a_file_that_is_cut(tmp_path):
    with load("gqa_group", dtype="int4") as model:
        model.save(tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    data = file.read_bytes()
    with llada.Model.load(tmp_path / "saved", use_mmap=True, **ids("gqa_group")) as model:
        expected = bits(model)
        with model.decoder([1, 2, 3], block_length=8, gen_length=8) as dec:
            os.truncate(file, len(data) // 2)
            for call in (lambda: bits(model), dec.forward):
                with pytest.raises(llada.FileError, match=r"model\.safetensors was cut while it is mapped"):
                    call()
            file.write_bytes(data)
            assert bits(model) == expected
            dec.run()
        (tmp_path / "other").write_bytes(data[: len(data) // 2])
        os.replace(tmp_path / "other", file)  # another file in its place is another file
        assert bits(model) == expected
        file.unlink()
        assert bits(model) == expected


def test_what_a_process_holds(tmp_path):
    """Anonymous memory, as the system counts it, of a model with 24 MB of experts."""
    rng = np.random.default_rng(0)
    config = json.loads((CONFORMANCE / "gqa_group" / "config.json").read_text())
    config["moe_intermediate_size"] = 4096
    tensors = {}
    for name, array in safetensors(CONFORMANCE / "gqa_group" / "model.safetensors").items():
        shape = list(array.shape)
        if ".mlp.experts." in name or ".mlp.shared_experts." in name:
            shape[1 if "down_proj" in name else 0] = 4096
        tensors[name] = ("F32", (rng.standard_normal(shape) * 0.02).astype(np.float32))
    write_checkpoint(tmp_path / "wide", config, tensors)
    with llada.Model.load(tmp_path / "wide", dtype="int8", **ids("gqa_group")) as model:
        model.save(tmp_path / "saved")
    size = expert_bytes(tmp_path / "saved")
    assert size > 20 << 20

    def anonymous(use_mmap) -> int:
        program = f"""
import sys
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}]
import llada
def held():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) << 10
before = held()
with llada.Model.load({str(tmp_path / "saved")!r}, use_mmap={use_mmap}, mask_token_id=5, threads=1) as model:
    model.generate(list(range(6, 26)), gen_length=8, block_length=8)
    print(held() - before)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert anonymous(None) - anonymous(True) > 0.9 * size


def test_what_fits():
    description = llada.Model.describe(TINY)
    with open("/proc/meminfo") as lines:
        total = int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) << 10
    assert 0 < description["memory_bytes"] <= total
    for row in description["memory"]:
        needed = max(row["opening_bytes"], row["open_bytes"] + row["workspace_bytes"])
        assert row["fits"] is (needed <= description["memory_bytes"])
        assert row["mmap_opening_bytes"] <= row["opening_bytes"] and row["mmap_fits"] is True
