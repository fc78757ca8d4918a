"""GGUF files of the `gguf` package, an independent writer and judge of every type's numbers."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

import llada
from conftest import CONFORMANCE, ROOT, safetensors
from gguf_files import CONFIG, TYPES, random_weights, write_gguf, write_meaning, write_metadata, write_tokenizer

IDS = [7, 19, 300, 4, 4, 250, 301, 301, 12, 0, 319, 88] * 3


def logits(path: Path, dtype: str = "auto", **options) -> np.ndarray:
    with llada.Model.load(path, dtype=dtype, threads=2, **options) as model:
        return np.asarray(model.logits(IDS, block_length=12))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


# -- Numbers


@pytest.mark.parametrize("kind", TYPES)
def test_the_numbers_of_every_type(tmp_path, kind):
    path = tmp_path / "model.gguf"
    meaning = write_gguf(path, kinds=lambda name: Type[kind])
    folder = write_meaning(tmp_path / "f32", meaning)
    exact = logits(folder, "f32")
    for use_mmap in (True, False):
        assert same(logits(path, "f32", use_mmap=use_mmap), exact)
    for dtype in ("bf16", "int8", "int4"):
        assert same(logits(path, dtype), logits(folder, dtype)), dtype


@pytest.mark.parametrize("kind", TYPES)
def test_as_stored(tmp_path, kind):
    """Floats in place; Q8_0 and Q4_0 in their own blocks, which are exact; all others as int8."""
    path = tmp_path / "model.gguf"
    folder = write_meaning(tmp_path / "f32", write_gguf(path, kinds=lambda name: Type[kind]))
    with llada.Model.load(path) as model:
        dtype = model.info.dtype
        stored = np.asarray(model.logits(IDS, block_length=12))
    if kind in ("F32", "F16", "BF16"):
        assert dtype == "auto"
        assert same(stored, logits(folder, "f32"))
    elif kind in ("Q8_0", "Q4_0"):
        assert dtype == kind.lower()
        exact = logits(folder, "f32")
        # Activations are rounded to eight bits, which now and then chooses another expert.
        assert np.median(np.abs(stored - exact)) < 0.03 * exact.std()
    else:
        assert dtype == "int8"
        assert same(stored, logits(folder, "int8"))


def mixed(name: str) -> Type:
    """As files that people have: experts in four bits, the head in six, values in more than queries."""
    if "exps" in name:
        return Type.Q5_1 if "down" in name else Type.Q4_1
    return {"attn_v.weight": Type.Q6_K, "output.weight": Type.Q6_K, "token_embd.weight": Type.Q4_K}.get(
        name.split(".", 2)[-1] if name.startswith("blk") else name, Type.Q5_0
    )


@pytest.mark.parametrize("apart", [False, True])
def test_mixed_types(tmp_path, apart):
    path = tmp_path / "model.gguf"
    folder = write_meaning(tmp_path / "f32", write_gguf(path, kinds=mixed, apart=apart))
    for dtype in ("f32", "int8", "int4"):
        assert same(logits(path, dtype), logits(folder, dtype)), dtype
    assert same(logits(path), logits(folder, "int8"))


@pytest.mark.parametrize("kind", ["F32", "BF16", "Q8_0", "Q4_K"])
def test_queries_keys_and_values_apart(tmp_path, kind):
    meaning = write_gguf(tmp_path / "apart.gguf", kinds=lambda name: Type[kind], apart=True)
    folder = write_meaning(tmp_path / "f32", meaning)
    assert same(logits(tmp_path / "apart.gguf", "f32"), logits(folder, "f32"))
    assert same(logits(tmp_path / "apart.gguf", "int8"), logits(folder, "int8"))


def test_a_head_that_is_the_embedding(tmp_path):
    folder = write_meaning(tmp_path / "f32", write_gguf(tmp_path / "tied.gguf", kinds=mixed, tied=True))
    assert same(logits(tmp_path / "tied.gguf", "f32"), logits(folder, "f32"))


@pytest.mark.parametrize("name", ["gqa_group", "mha_nogroup", "mini_like"])
def test_conformance_models(tmp_path, name):
    """The models that reference implementations have run, with experts stacked and keys in other places."""
    config = json.loads((CONFORMANCE / name / "config.json").read_text())
    weights = safetensors(CONFORMANCE / name / "model.safetensors")
    for key in [key for key in weights if ".mlp.experts.0." in key]:
        experts = [weights.pop(key.replace(".experts.0.", f".experts.{e}.")) for e in range(config["num_experts"])]
        weights[key.replace(".experts.0.", ".experts.").removesuffix(".weight")] = np.stack(experts)
    config.setdefault("intermediate_size", 1)
    write_gguf(tmp_path / "model.gguf", config, weights=weights)
    forward = safetensors(CONFORMANCE / name / "forward.safetensors")
    with llada.Model.load(tmp_path / "model.gguf", dtype="f32") as model:
        assert model.info.vocab_size == config["vocab_size"]
        found = np.asarray(model.logits(forward["B8.ids"], block_length=8))
    assert np.abs(found - forward["B8.logits"]).max() < 1e-4


# -- Files


def test_several_files(tmp_path):
    whole = write_gguf(tmp_path / "whole.gguf")
    for small_first in (False, True):
        folder = tmp_path / f"parts{small_first}"
        folder.mkdir()
        write_gguf(folder / "model.gguf", split_max_tensors=7, small_first_shard=small_first)
        parts = sorted(folder.iterdir())
        assert len(parts) > 3 and parts[0].name.startswith("model-00001-of-")
        expected = logits(write_meaning(tmp_path / f"f32{small_first}", whole), "f32")
        for path in (parts[0], parts[-1], folder):
            assert same(logits(path), expected)


def test_a_missing_or_renamed_part(tmp_path):
    write_gguf(tmp_path / "model.gguf", split_max_tensors=9)
    parts = sorted(tmp_path.iterdir())
    second = parts[1].read_bytes()
    parts[1].unlink()
    with pytest.raises(llada.FileError, match=f"{parts[1].name} is missing"):
        llada.Model.load(parts[0])
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(llada.CheckpointError, match=r"split\.no is 2; expected 1"):
        llada.Model.load(parts[0])
    parts[1].write_bytes(second)
    alone = tmp_path / "alone.gguf"
    alone.write_bytes(parts[0].read_bytes())
    with pytest.raises(llada.CheckpointError, match=r"split\.count is .*; expected 1"):
        llada.Model.load(alone)


def test_a_folder(tmp_path):
    write_gguf(tmp_path / "model.gguf")
    (tmp_path / "README.md").write_text("a model")
    expected = logits(tmp_path / "model.gguf")
    assert same(logits(tmp_path), expected)
    write_gguf(tmp_path / "other.gguf")
    with pytest.raises(llada.UnsupportedError, match=r"several GGUF models: model\.gguf, other\.gguf"):
        llada.Model.load(tmp_path)


def test_progress_and_names(tmp_path):
    path = tmp_path / "mod\u00e8le.gguf"
    write_gguf(path, kinds=mixed)
    told: list[float] = []
    llada.Model.load(path, progress=told.append, use_mmap=False).close()
    assert told == sorted(told) and told[-1] == 1
    odd = tmp_path / b"m\xff.gguf".decode(errors="surrogateescape")
    path.rename(odd)
    llada.Model.load(odd).close()


# -- Text

STRINGS = [
    "",
    "Hello, world! It's 12345 o'clock; they'LL see.",
    "  two  spaces\n\nand\tlines\r\n  ",
    "na\u00efve caf\u00e9 cafe\u0301 \ufb01ne \u2460 \u00bd",
    "\u4f60\u597d\uff0c\u4e16\u754c \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "def f(x):\n    return x ** 2  # <|mask|> <role>HUMAN</role>",
    "<|endoftext|>a<|role_end|><|mask|>b",
    "\ufeff\u00a0\u2028 \u3000x\x00\x7f",
    "'s 't 'RE don'T \u2019s _under_score_ a1b2c3 100%",
]


@pytest.fixture(scope="module")
def with_text(tmp_path_factory):
    """A GGUF file, and a folder, of the same model with the tokenizer of an example."""
    base = tmp_path_factory.mktemp("text")
    source = ROOT / "examples" / "models" / "tiny-2.1"
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    template = json.loads((source / "tokenizer_config.json").read_text())["chat_template"]
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    config = {
        **CONFIG,
        "vocab_size": 1024,
        "eos_token_id": ids["<|endoftext|>"],
        "mask_token_id": ids["<|mask|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    meaning = write_gguf(
        base / "model.gguf",
        config,
        kinds=mixed,
        extra=lambda writer: write_tokenizer(writer, tokenizer, config["vocab_size"], template),
    )
    folder = write_meaning(base / "folder", meaning, config)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return base


def test_the_same_text(with_text):
    with llada.Model.load(with_text / "model.gguf") as ours, llada.Model.load(with_text / "folder") as theirs:
        assert ours.info.mask_token_id == theirs.info.mask_token_id
        assert tuple(ours.eos_token_ids) == tuple(theirs.eos_token_ids)
        held_out = (ROOT / "examples" / "models" / "held_out.jsonl").read_text().splitlines()[:300]
        for text in STRINGS + held_out:
            for control in (False, True):
                ids = ours.tokenizer.encode(text, control=control)
                assert list(ids) == list(theirs.tokenizer.encode(text, control=control)), text
                assert ours.tokenizer.decode(ids) == theirs.tokenizer.decode(ids)
        conversation = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "<|mask|> 2 + 2?"}]
        assert list(ours.tokenizer.chat(conversation)) == list(theirs.tokenizer.chat(conversation))


def test_added_tokens_anywhere(tmp_path):
    """Ids that are left out, ordinary tokens behind added ones, and added tokens that are not special."""
    tokenizer = json.loads((ROOT / "examples" / "models" / "tiny-2.1" / "tokenizer.json").read_text())
    source = llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1")
    first = min(token["id"] for token in tokenizer["added_tokens"])
    last = max(tokenizer["model"]["vocab"].values())
    assert last == first - 1
    # Added tokens move up by 5, and the last ordinary one behind them: 5 ids in between are of nothing.
    moved = {token["id"]: token["id"] + 5 for token in tokenizer["added_tokens"]} | {last: 1000}
    for token in tokenizer["added_tokens"]:
        token["id"] = moved[token["id"]]
    vocab = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {content: moved.get(index, index) for content, index in vocab.items()}
    plain = tokenizer["added_tokens"][-1]
    plain["special"] = False
    write_gguf(
        tmp_path / "model.gguf",
        {**CONFIG, "vocab_size": 1024},
        extra=lambda writer: write_tokenizer(writer, tokenizer, 1024),
    )
    with source, llada.Model.load(tmp_path / "model.gguf") as model:
        for text in [*STRINGS, plain["content"], list(vocab)[-1]]:
            ids = [moved.get(index, index) for index in source.tokenizer.encode(text, control=True)]
            assert list(model.tokenizer.encode(text, control=True)) == ids
        # What is not special is found in anybody's text.
        assert list(model.tokenizer.encode(plain["content"], control=False)) == [plain["id"]]


def test_converted(with_text, tmp_path):
    """What convert writes computes the same, has the tokenizer, and opens in Hugging Face's library."""
    from tokenizers import Tokenizer

    for dtype in ("int8", "auto"):
        out = tmp_path / dtype
        command = [sys.executable, "-m", "llada.convert", with_text / "model.gguf", out, "--dtype", dtype]
        subprocess.run(command, check=True, capture_output=True)
        assert same(logits(out), logits(with_text / "model.gguf", dtype))
        assert {file.name for file in out.iterdir()} == {
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors",
        }
        with llada.Model.load(out) as model, llada.Model.load(with_text / "folder") as original:
            judge = Tokenizer.from_file(str(out / "tokenizer.json"))
            for text in STRINGS:
                ids = list(original.tokenizer.encode(text, control=True))
                assert list(model.tokenizer.encode(text, control=True)) == ids
                assert judge.encode(text, add_special_tokens=False).ids == ids


@pytest.mark.parametrize("kind", TYPES)
def test_saved_as_stored(tmp_path, kind):
    """A folder that was saved from a GGUF file gives the same bits, though its formats differ from matrix to matrix."""

    def kinds(name: str) -> Type:
        return Type[kind] if "exps" in name or "token_embd" in name else mixed(name)

    path = tmp_path / "model.gguf"
    write_gguf(path, kinds=kinds)
    with llada.Model.load(path) as model:
        expected = np.asarray(model.logits(IDS, block_length=12))
        if model.info.dtype == "auto":
            with pytest.raises(llada.InvalidArgumentError, match="not packed"):
                model.save(tmp_path / "saved")
            return
        model.save(tmp_path / "saved")
    for use_mmap in (True, False):
        with llada.Model.load(tmp_path / "saved", use_mmap=use_mmap) as again:
            assert same(np.asarray(again.logits(IDS, block_length=12)), expected)
            again.save(tmp_path / f"again{use_mmap}")
        assert same(logits(tmp_path / f"again{use_mmap}"), expected)


# -- Refusals


def change(writer_call):
    """A file with one more, or another, metadata value."""
    return {"extra": writer_call}


def without(*names: str):
    """A file without these keys."""

    def metadata(writer, config):
        write_metadata(writer, config)
        for name in names:
            del writer.kv_data[0][name]

    return {"metadata": metadata}


def renamed(key: str, add):
    """A file with another value in place of one."""

    def metadata(writer, config):
        write_metadata(writer, config)
        del writer.kv_data[0][key]
        add(writer)

    return {"metadata": metadata}


TOKENS = ["a", "b"]
REFUSALS = {
    "architecture": ({"architecture": "bailingmoe2"}, llada.UnsupportedError, 'general.architecture is "bailingmoe2"'),
    "diffuse": ({"architecture": "diffuse"}, llada.UnsupportedError, 'is "diffuse"; expected "llada2"'),
    "llada": ({"architecture": "llada"}, llada.UnsupportedError, 'is "llada"; expected "llada2"'),
    "shift": (
        renamed("diffusion.shift_logits", lambda w: w.add_diffusion_shift_logits(True)),
        llada.UnsupportedError,
        "diffusion.shift_logits is true; expected false",
    ),
    "gating": (
        renamed("llada2.expert_gating_func", lambda w: w.add_uint32("llada2.expert_gating_func", 1)),
        llada.UnsupportedError,
        "expert_gating_func is 1; expected 2",
    ),
    "no blocks": (without("llada2.block_count"), llada.CheckpointError, "llada2.block_count is missing"),
    "no groups": (without("llada2.expert_group_count"), llada.CheckpointError, "expert_group_count is missing"),
    "type of a key": (
        renamed("llada2.block_count", lambda w: w.add_string("llada2.block_count", "two")),
        llada.CheckpointError,
        'llada2.block_count is "two"; expected an integer',
    ),
    "too many experts": (
        renamed("llada2.expert_used_count", lambda w: w.add_expert_used_count(9)),
        llada.CheckpointError,
        "model.gguf: its config.json: num_experts_per_tok is 9; expected at most",
    ),
    "values of another length": (
        renamed("llada2.attention.value_length", lambda w: w.add_value_length(32)),
        llada.UnsupportedError,
        "value_length is 32; expected 64",
    ),
    "linear": (
        change(lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)),
        llada.UnsupportedError,
        'rope.scaling.type is "linear"',
    ),
    "sizes": (
        renamed("llada2.feed_forward_length", lambda w: w.add_feed_forward_length(511)),
        llada.CheckpointError,
        r'tensor "blk.0.ffn_gate.weight": shape is [512, 256]; expected [511, 256]',
    ),
    "one more tensor": (
        change(lambda w: w.add_tensor("rope_freqs.weight", np.ones(16, np.float32))),
        llada.UnsupportedError,
        'tensor "rope_freqs.weight" has no place',
    ),
    "tokenizer": (
        change(lambda w: w.add_tokenizer_model("llama")),
        llada.UnsupportedError,
        'tokenizer.ggml.model is "llama"; expected "gpt2"',
    ),
    "pattern": (
        change(lambda w: (w.add_tokenizer_model("gpt2"), w.add_tokenizer_pre("qwen2"))),
        llada.UnsupportedError,
        'tokenizer.ggml.pre is "qwen2"; expected "bailingmoe2"',
    ),
    "kinds of tokens": (
        change(
            lambda w: (
                w.add_tokenizer_model("gpt2"),
                w.add_tokenizer_pre("bailingmoe2"),
                w.add_token_list(TOKENS),
                w.add_token_types([1]),
                w.add_token_merges(["a b"]),
            )
        ),
        llada.TokenizerError,
        "tokenizer.ggml.token_type is an array of 1 int32; expected an array of 2 int32",
    ),
    "a byte without a token": (
        change(
            lambda w: (
                w.add_tokenizer_model("gpt2"),
                w.add_tokenizer_pre("bailingmoe2"),
                w.add_token_list(TOKENS),
                w.add_token_types([1, 1]),
                w.add_token_merges([]) or w.add_array("tokenizer.ggml.merges", ["a b"]),
            )
        ),
        llada.TokenizerError,
        "model.gguf: its tokenizer.json",
    ),
    "Q2_K": ({"kinds": lambda name: Type.Q2_K}, llada.UnsupportedError, "type is 10 (Q2_K); expected F32, F16"),
    "mixed feed-forward": (
        {"kinds": lambda name: Type.BF16 if "ffn_gate" in name else Type.Q4_1},
        llada.UnsupportedError,
        "mixes floats and integers",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(tmp_path, case):
    options, kind, words = REFUSALS[case]
    write_gguf(tmp_path / "model.gguf", **options)
    with pytest.raises(kind) as refusal:
        llada.Model.load(tmp_path / "model.gguf")
    assert words in str(refusal.value) and "model.gguf" in str(refusal.value)


def test_yarn(tmp_path):
    """YaRN in the metadata is YaRN in config.json."""

    def extra(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(1024)

    meaning = write_gguf(tmp_path / "model.gguf", extra=extra)
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    folder = write_meaning(tmp_path / "f32", meaning, {**CONFIG, "rope_scaling": scaling})
    assert same(logits(tmp_path / "model.gguf"), logits(folder))
    plain = write_meaning(tmp_path / "plain", meaning)
    assert not same(logits(folder), logits(plain))


# -- Real size


def test_a_vocabulary_of_157_thousand(tmp_path):
    """The metadata of a real file, with a tiny model around them, open in a few seconds."""
    alphabet = [chr(c) for c in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x100, 0x144)]]
    tokens, merges = list(alphabet), []
    for left in alphabet:
        for right in alphabet:
            tokens.append(left + right)
            merges.append([left, right])
    for left in tokens[256:]:
        if len(tokens) == 156_891:
            break
        tokens.append(left + "e")
        merges.append([left, "e"])
    tokens = list(dict.fromkeys(tokens))
    config = {**CONFIG, "vocab_size": 157_184, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    config |= {"num_key_value_heads": 1, "eos_token_id": 156_892, "mask_token_id": 156_895, "pad_token_id": 156_892}
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = [pair for pair in merges if "".join(pair) in vocab]
    added = [{"id": len(vocab) + i, "content": f"<|added{i}|>", "special": i % 2 == 0} for i in range(262)]
    tokenizer = {"model": {"vocab": vocab, "merges": merges}, "added_tokens": added}
    write_gguf(
        tmp_path / "model.gguf",
        config,
        kinds=lambda name: Type.Q8_0,
        extra=lambda writer: write_tokenizer(writer, tokenizer, config["vocab_size"]),
    )
    with llada.Model.load(tmp_path / "model.gguf") as model:
        assert model.tokenizer.encode("the e", control=False) is not None
        assert model.info.vocab_size == 157_184


# -- Damage


def test_damage_is_an_error(with_text):
    """The first bytes, one after another, changed; the file, cut; strings and counts of 2^60."""
    good = (with_text / "model.gguf").read_bytes()
    path = with_text / "damaged.gguf"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        try:
            llada.Model.load(path).close()
        except llada.Error as error:
            return str(error)
        return ""

    assert attempt(good[:4]) and attempt(b"GGUF" + bytes(20)) and attempt(good[: len(good) // 2])
    for huge in (2**60, 2**63, 2**64 - 1, len(good)):
        for place in (8, 16, 24):
            data = bytearray(good)
            data[place : place + 8] = struct.pack("<Q", huge)
            assert "damaged.gguf" in attempt(bytes(data))
    big = good[:4] + struct.pack(">I", 3) + good[8:]
    assert "big-endian" in attempt(big)
    assert "expected 2 or 3" in attempt(good[:4] + struct.pack("<I", 1) + good[8:])
    second = attempt(good[:4] + struct.pack("<I", 2) + good[8:])
    assert second == ""
    assert random_weights(CONFIG).keys()
