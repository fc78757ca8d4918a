"""Models saved packed: what comes back is the same, bit for bit, and what was tampered with is refused."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, ROOT, ids, load, safetensors, write_merged
from llada import convert

PACKED = ("bf16", "int8", "int4")
TINY = ROOT / "examples" / "models" / "tiny-2.1"


def logits(model: llada.Model) -> np.ndarray:
    return model.logits(np.arange(70) * 7 % model.vocab_size, block_length=32)


def header(file) -> tuple[dict, int]:
    """Of a safetensors file, with the place where its data begin."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), end


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """gqa_group in each precision"""
    base = tmp_path_factory.mktemp("saved")
    for dtype in PACKED:
        with load("gqa_group", dtype=dtype) as model:
            model.save(base / dtype)
    return base


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("name", ["gqa_group", "mha_nogroup", "mini_like", "block_route"])
def test_the_same_bits(tmp_path, name, dtype):
    with llada.Model.load(CONFORMANCE / name, dtype=dtype, **ids(name)) as model:
        expected, info = logits(model), model.info
        model.save(tmp_path / "saved")
    for options in ({}, {"use_mmap": False}, {"dtype": dtype}, {"threads": 1}):
        with llada.Model.load(tmp_path / "saved", **{**ids(name), **options}) as model:
            assert np.array_equal(logits(model).view(np.uint32), expected.view(np.uint32)), options
            assert model.info.weight_bytes == info.weight_bytes and model.info.num_parameters == info.num_parameters


def test_experts_in_stacks(tmp_path):
    """Merged as dFactory writes them; they stay so."""
    write_merged(tmp_path / "merged", "gqa_group")
    for dtype in PACKED:
        with llada.Model.load(tmp_path / "merged", dtype=dtype, **ids("gqa_group")) as model:
            model.save(tmp_path / dtype)
        with llada.Model.load(tmp_path / dtype, **ids("gqa_group")) as model, load("gqa_group", dtype=dtype) as apart:
            assert np.array_equal(logits(model), logits(apart))
        entries, _ = header(tmp_path / dtype / "model.safetensors")
        assert entries["model.layers.1.mlp.experts.gate_proj"]["shape"][0] == 16


@pytest.mark.parametrize("dtype", PACKED)
def test_what_is_in_the_file(saved, dtype):
    entries, start = header(saved / dtype / "model.safetensors")
    parameters = sum(array.size for array in safetensors(CONFORMANCE / "gqa_group" / "model.safetensors").values())
    assert entries.pop("__metadata__") == {
        "format": "llada-packed",
        "version": "1",
        "dtype": dtype,
        "parameters": str(parameters),
    }
    assert set(entries) == set(safetensors(CONFORMANCE / "gqa_group" / "model.safetensors"))
    block = {"bf16": 8192, "int8": 4224, "int4": 2304}
    # q, k, v of 4 + 2 + 2 heads of 16 from a width of 64; of int4, what every token passes is in int8
    assert entries["model.layers.1.mlp.experts.0.gate_proj.weight"]["shape"] == [1, 1, block[dtype]]
    common = block["int8" if dtype == "int4" else dtype]
    assert entries["model.layers.0.attention.query_key_value.weight"]["shape"] == [2, 1, common]
    assert entries["model.layers.1.mlp.shared_experts.gate_proj.weight"]["shape"] == [1, 1, common]
    assert entries["lm_head.weight"]["shape"] == [2, 1, common]
    for name, entry in entries.items():
        if entry["dtype"] == "U8":  # where the kernels like it, also when the file is mapped
            assert (start + entry["data_offsets"][0]) % 64 == 0, name
        else:
            assert entry["dtype"] == "F32" and ("norm" in name or "gate." in name or "embeddings" in name), name


def test_the_folder_is_whole(tmp_path):
    with llada.Model.load(TINY, dtype="int8") as model:
        model.save(tmp_path / "saved")
        expected = model.generate("What is 17 plus 25?", gen_length=64)
    files = {file.name for file in (tmp_path / "saved").iterdir()}
    assert files == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in files - {"model.safetensors"}:
        assert (tmp_path / "saved" / name).read_bytes() == (TINY / name).read_bytes()
    with llada.Model.load(tmp_path / "saved") as model:
        answer = model.generate("What is 17 plus 25?", gen_length=64)
        assert answer.text == expected.text and answer.forwards == expected.forwards
        # Once more, into a folder that is there, and it is the same to the byte.
        (tmp_path / "again").mkdir()
        model.save(tmp_path / "again")
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_the_files_are_those_of_the_opening(tmp_path):
    shutil.copytree(TINY, tmp_path / "gone")
    with llada.Model.load(tmp_path / "gone", dtype="bf16") as model:
        shutil.rmtree(tmp_path / "gone")
        model.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").read_bytes() == (TINY / "config.json").read_bytes()


def test_a_name_that_is_not_utf8(tmp_path):
    folder = bytes(tmp_path) + b"/\xff\xfe"
    with load("gqa_group", dtype="int8") as model:
        model.save(folder)
    with llada.Model.load(folder, **ids("gqa_group")) as model:
        model.save(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").exists()


# -- Refusals


def refused(model, folder, kind, *words):
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        model.save(folder)
    assert isinstance(caught.value, llada.Error)
    for word in words:
        assert word in str(caught.value)
    assert sorted(folder.parent.rglob("*")) == before


def test_where_it_cannot_be_saved(tmp_path):
    shutil.copytree(CONFORMANCE / "gqa_group", tmp_path / "source")
    (tmp_path / "file").write_text("")
    with llada.Model.load(tmp_path / "source", dtype="int8", **ids("gqa_group")) as model:
        refused(model, tmp_path / "source", OSError, "source", "not empty")
        refused(model, tmp_path / "file", OSError, "file", "Not a directory")
        refused(model, tmp_path / "no" / "folder", OSError, "No such file")
        with pytest.raises(ValueError):
            model.save("a\0b")
        with pytest.raises(OSError):
            model.save("")
    with pytest.raises(llada.ClosedError):
        model.save(tmp_path / "closed")
    for dtype in ("auto", "f32"):
        with load("gqa_group", dtype=dtype) as model:
            refused(model, tmp_path / "rows", ValueError, "bf16, int8 or int4")


def test_progress(tmp_path):
    told = []
    with load("gqa_group", dtype="int8") as model:
        model.save(tmp_path / "saved", progress=told.append)
        assert told == sorted(told) and told[0] > 0 and told[-1] == 1 and len(told) > 10

        for part in (0, len(told) // 2, len(told) - 1):
            answers = iter([*[None] * part, llada.STOP])
            with pytest.raises(llada.Stopped, match="saving"):
                model.save(tmp_path / "stopped", progress=lambda fraction, answers=answers: next(answers))
            assert not (tmp_path / "stopped").exists()

        (tmp_path / "empty").mkdir()
        with pytest.raises(ZeroDivisionError):
            model.save(tmp_path / "empty", progress=lambda fraction: 1 / 0)
        assert list((tmp_path / "empty").iterdir()) == []  # made by someone else: it stays


def test_another_precision_is_refused(saved):
    for dtype in PACKED:
        for other in ("f32", *PACKED):
            if other != dtype:
                with pytest.raises(ValueError, match=f"dtype is {other}; expected auto or {dtype}"):
                    llada.Model.load(saved / dtype, dtype=other, **ids("gqa_group"))


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (('"version":"1"', '"version":"2"'), "UNSUPPORTED", ['version is "2"', 'expected "1"']),
        (('"version":"1",', ""), "UNSUPPORTED", ["version is missing"]),
        (('"dtype":"int4"', '"dtype":"int5"'), "UNSUPPORTED", ['dtype is "int5"', '"bf16", "int8", "int4"']),
        (('"dtype":"int4"', '"dtype":"int8"'), "TENSOR", ["experts", "shape is [1, 1, 2304]", "[1, 1, 4224]"]),
        (('"version":"1"', '"version":"1","tile":"32"'), "UNSUPPORTED", ['"tile" is "32"']),
        (('"parameters":"', '"parameters":"1'), "TENSOR", ["parameters is 1", "config.json"]),
        (('"parameters":"', '"parameters":"x'), "UNSUPPORTED", ['parameters is "x', "a number"]),
        (('"format":"llada-packed"', '"format":"pt"'), "TENSOR", ["U8", "F32, F16 or BF16"]),
        (('"shape":[2,1,4224]', '"shape":[1,2,4224]'), "TENSOR", ["query_key_value", "[1, 2, 4224]", "[2, 1, 4224]"]),
        (('"shape":[2,1,4224]', '"shape":[2,1,4223]'), "SAFETENSORS", ["query_key_value"]),
        (('"dtype":"U8","shape":[2,1,4224]', '"dtype":"I8","shape":[2,1,4224]'), "TENSOR", ["I8", "expected U8"]),
    ],
)
@pytest.mark.parametrize("use_mmap", [True, False])
def test_tampered_headers(saved, tmp_path, change, kind, words, use_mmap):
    shutil.copytree(saved / "int4", tmp_path / "bad")
    file = tmp_path / "bad" / "model.safetensors"
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    text = data[8:end].decode()
    assert change[0] in text
    changed = text.replace(*change, 1).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + data[end:])
    with pytest.raises(llada.Error) as caught:
        llada.Model.load(tmp_path / "bad", use_mmap=use_mmap, **ids("gqa_group"))
    assert caught.value.name == f"LLADA_ERROR_{kind}", caught.value
    for word in ["model.safetensors", *words]:
        assert word in str(caught.value)


def test_cut_short(saved, tmp_path):
    shutil.copytree(saved / "int8", tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    data = file.read_bytes()
    for length in (0, 7, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        for use_mmap in (True, False):
            with pytest.raises(llada.CheckpointError, match="model.safetensors"):
                llada.Model.load(tmp_path / "cut", use_mmap=use_mmap, **ids("gqa_group"))


def test_a_config_of_other_sizes(saved, tmp_path):
    shutil.copytree(saved / "int8", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    for key, value in (("vocab_size", 256), ("intermediate_size", 65), ("num_hidden_layers", 4), ("head_dim", 32)):
        (tmp_path / "other" / "config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises(llada.CheckpointError):
            llada.Model.load(tmp_path / "other", **ids("gqa_group"))


# -- python -m llada.convert


def test_convert(tmp_path, capsys):
    assert convert.main([str(TINY), str(tmp_path / "out"), "--dtype", "int4", "--threads", "1"]) == 0
    said = re.fullmatch(
        r".*: int4, [\d.]+ MB, packed in [\d.]+ s with (\d+) MB of memory at most; opens in [\d.]+ s\n",
        capsys.readouterr().out,
    )
    assert said and int(said[1]) > 10
    with llada.Model.load(tmp_path / "out") as ours, llada.Model.load(TINY, dtype="int4") as expected:
        assert np.array_equal(logits(ours), logits(expected))
    assert convert.main([str(TINY), str(tmp_path / "out")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert convert.main([str(tmp_path / "nowhere"), str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()
