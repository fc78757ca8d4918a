"""Checkpoints of the published sizes, made up: they are what they are said to be, and Hugging Face reads them too."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import pytest
import safetensors
import tokenizers

import llada
from conftest import CONFORMANCE, ROOT
from llada.synthetic import published_config, shapes
from llada.synthetic.__main__ import main
from llada.synthetic.shapes import Tensor, tensors
from llada.synthetic.weights import RandomNumbers, shards, to_bf16

SPECIAL = {
    "<|startoftext|>": 156891,
    "<|endoftext|>": 156892,
    "[CLS]": 156893,
    "[gMASK]": 156894,
    "<|mask|>": 156895,
    "<|role_end|>": 156900,
}


NARROW = {
    "hidden_size": 128,
    "head_dim": 32,
    "intermediate_size": 320,
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rotary_dim": 16,
}


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """All of mini's vocabulary, layers and experts, but narrow: 0.2 GB in place of 33."""
    folder = tmp_path_factory.mktemp("synthetic") / "mini"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes._SIZES, "mini", shapes._SIZES["mini"] | NARROW)
        assert main([str(folder)]) == 0
    yield folder
    for file in folder.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def model(mini) -> llada.Model:
    with llada.Model.load(mini, threads=2) as model:
        yield model


@pytest.fixture(scope="module")
def peer(mini):
    return tokenizers.Tokenizer.from_file(str(mini / "tokenizer.json"))


# -- shapes


@pytest.mark.parametrize(
    ("shape", "count", "parameters"), [("mini", 14_813, 16_255_643_392), ("flash", 24_161, 102_889_705_216)]
)
def test_tensors_and_parameters_of_the_published_models(shape, count, parameters):
    """docs/spec/model.md, sections 2 and 3."""
    found = list(tensors(published_config(shape)))
    assert len({tensor.name for tensor in found}) == len(found) == count
    assert sum(tensor.size for tensor in found) == parameters


def test_shards_hold_five_gigabytes_at_most():
    parts = shards(list(tensors(published_config("mini"))))
    sizes = [sum(tensor.byte_count for tensor in part) for part in parts.values()]
    total = sum(tensor.byte_count for tensor in tensors(published_config("mini")))
    assert list(parts) == [f"model-{number:05}-of-00007.safetensors" for number in range(1, 8)]
    assert max(sizes) <= 5_000_000_000 and sum(sizes) == total


# -- files


def test_the_files_are_as_the_hub_has_them(mini):
    index = json.loads((mini / "model.safetensors.index.json").read_text())
    names = sorted(file.name for file in mini.glob("*.safetensors"))
    assert names == [f"model-{number:05}-of-{len(names):05}.safetensors" for number in range(1, len(names) + 1)]
    assert sorted(set(index["weight_map"].values())) == names and len(names) > 1
    total, found = 0, {}
    for name in names:
        with safetensors.safe_open(str(mini / name), framework="np") as file:
            for key in file.keys():  # noqa: SIM118
                assert index["weight_map"][key] == name
                found[key] = tuple(file.get_slice(key).get_shape())
                total += (4 if key.endswith("bias") else 2) * int(np.prod(found[key]))
    assert found == {tensor.name: tensor.shape for tensor in tensors(published_config("mini") | NARROW)}
    assert index["metadata"]["total_size"] == total
    assert {file.name for file in mini.iterdir()} == {
        *names,
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_model_is_of_the_published_size(model):
    info = model.info
    assert (info.vocab_size, info.hidden_size, info.num_hidden_layers) == (157_184, 128, 20)
    assert (info.mask_token_id, info.eos_token_ids) == (156_895, (156_892,))
    assert info.has_tokenizer and info.has_chat_template


# -- the tokenizer


def strings() -> list[str]:
    """Text at hand, and characters of all kinds, some hundred of each."""
    drawn = random.Random(1)
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "architecture.md").read_text()
    found = [
        text,
        "",
        " ",
        "\n\n",
        "<|mask|>x<|role_end|>",
        "<role>HUMAN</role>",
        "cafe\u0301 \u212b",
        "中文，你好",
        "한국어",
    ]
    for _ in range(300):
        start = drawn.randrange(len(text))
        found.append(text[start : start + drawn.randrange(1, 200)])
    ranges = [(0x20, 0x7F), (0xA0, 0x600), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    for _ in range(300):
        kinds = [drawn.choice(ranges) for _ in range(drawn.randrange(1, 4))]
        found.append("".join(chr(drawn.randrange(*drawn.choice(kinds))) for _ in range(drawn.randrange(1, 40))))
    return found


def test_ids_are_those_of_hugging_face(model, peer):
    assert peer.get_vocab_size() == 157_153 and peer.get_vocab_size(with_added_tokens=False) == 156_891
    for text in strings():
        expected = peer.encode(text, add_special_tokens=False).ids
        assert model.tokenizer.encode(text, control=True).tolist() == expected, text
        assert model.tokenizer.decode(expected) == peer.decode(expected, skip_special_tokens=False), text


def test_ids_may_have_another_order_than_merges(mini, tmp_path):
    """The id after the last one's is only where ours looks first. These merges are pairs, as in newer files."""
    for file in mini.iterdir():
        (tmp_path / file.name).symlink_to(file)
    content = json.loads((mini / "tokenizer.json").read_text())
    tokens = list(content["model"]["vocab"])
    random.Random(2).shuffle(tokens)
    content["model"]["vocab"] = {token: number for number, token in enumerate(tokens)}
    content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    peer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    with llada.Model.load(tmp_path, threads=1) as model:
        for text in strings()[::4]:
            expected = peer.encode(text, add_special_tokens=False).ids
            assert model.tokenizer.encode(text, control=True).tolist() == expected, text


def test_special_ids(model, peer):
    for name, number in SPECIAL.items():
        assert peer.token_to_id(name) == number
        assert model.tokenizer.encode(name, control=True).tolist() == [number]
        assert number not in model.tokenizer.encode(name)


def test_text_becomes_about_as_many_tokens_as_it_would(model):
    """A trained tokenizer makes a token of some four characters of English, and one of a Chinese character."""
    text = "What is the answer to the question that the people of this country have asked their government for years?"
    assert len(text) / len(model.tokenizer.encode(text)) > 3
    assert len(model.tokenizer.encode("中文字符测试")) == 6


def test_every_merge_makes_a_token(mini):
    content = json.loads((mini / "tokenizer.json").read_text())
    vocab, merges = content["model"]["vocab"], content["model"]["merges"]
    assert (len(vocab), len(merges), len(content["added_tokens"])) == (156_891, 156_635, 262)
    assert {left + right for left, right in map(str.split, merges)} | {t for t in vocab if len(t) == 1} == set(vocab)


def test_the_chat_template_is_the_layout(mini, model):
    template = jinja2.Template(json.loads((mini / "tokenizer_config.json").read_text())["chat_template"])
    for messages in (
        [{"role": "user", "content": "What is 17 plus 25?"}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "And now?"},
        ],
    ):
        rendered = template.render(messages=messages, add_generation_prompt=True)
        assert model.tokenizer.decode(model.tokenizer.chat(messages)) == rendered


# -- memory


@pytest.mark.parametrize("dtype", ["bf16", "int4"])
def test_packing_lets_go_of_what_it_has_packed(mini, dtype):
    """Else the pages of the source would be in memory beside the result."""
    code = f"""
import re, llada
def mapped(): return int(re.search(r"RssFile:\\s*(\\d+)", open("/proc/self/status").read())[1]) << 10
before = mapped()
with llada.Model.load({str(mini)!r}, dtype={dtype!r}, threads=1) as model:
    print(mapped() - before)
"""
    path = {"PYTHONPATH": str(ROOT / "bindings" / "python")}
    held = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, **path}
    )
    source = sum(file.stat().st_size for file in mini.glob("*.safetensors"))
    assert int(held.stdout) < source / 5


def test_progress_comes_often(mini):
    """It is there that a host stops the work: within 16 MB of the source, which are a moment on any disk."""
    seen: list[float] = []
    llada.Model.load(mini, dtype="int8", progress=seen.append).close()
    assert seen == sorted(seen) and seen[-1] == 1
    source = sum(file.stat().st_size for file in mini.glob("*.safetensors"))
    reading = [fraction for fraction in seen if 0.05 <= fraction <= 0.9]  # before are headers, behind is the tokenizer
    gaps = np.diff([0.05, *reading])
    # The embedding is used in place, and nothing is to be done for it.
    assert np.sort(gaps)[:-1].max() / 0.85 * source < 2 * (16 << 20)


# -- the weights


def test_a_step(model):
    logits = model.logits(model.tokenizer.encode("What is the answer?"), block_length=32)
    assert np.isfinite(logits).all() and 0.5 < logits.std() < 2
    assert len(set(logits.argmax(axis=1).tolist())) > 1
    with model.decoder("What is 17 plus 25?", gen_length=32) as decoder:
        decoder.step()
        assert decoder.forwards == 1


def test_states_neither_explode_nor_vanish(model):
    with model.decoder(np.arange(32) * 7919 % model.vocab_size, gen_length=32) as decoder:
        decoder.watch(hidden=True)
        decoder.forward()
        spreads = [decoder.hidden(layer).std() for layer in range(20)]
    assert min(spreads) > 0.5 and max(spreads) < 3, spreads


def test_tensors_differ_and_come_again_with_the_seed():
    wanted = [Tensor("a", (40, 30), 0.5), Tensor("b", (40, 30), 0.5), Tensor("c", (40, 30), 0.5, "F32")]

    def made(seed) -> list[bytes]:
        numbers = RandomNumbers(seed, len(wanted))
        return [b"".join(numbers.chunks(tensor)) for tensor in wanted]

    first = made(1)
    assert first == made(1) and first != made(2) and first[0] != first[1]
    assert [len(data) for data in first] == [2400, 2400, 4800]
    assert np.isclose(np.frombuffer(first[2], np.float32).std(), 0.5, rtol=0.1)


def test_rounding_to_bf16():
    """To the nearest, and to the even one of two: 1 + 2^-8 lies between 1 and 1 + 2^-7."""
    floats = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-16, 0], np.float32)
    assert to_bf16(floats).tolist() == [0x3F80, 0x3F80, 0x3F82, 0xBF81, 0]


# -- the command


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main([str(tmp_path), "--layers", "1"]) == 1
    assert "is not empty" in capsys.readouterr().err and [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_what_is_refused(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert main([str(out), "--layers", "0"]) == 1
    assert "layers is 0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="shape is 'maxi'"):
        published_config("maxi")
    assert main([str(CONFORMANCE / "README.md")]) == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=32_000_000_000))
    assert main([str(out)]) == 1
    assert "has 32.0 GB of room; 32.5 GB are needed" in capsys.readouterr().err and not list(out.iterdir())
