"""Checkpoints as people have them: what other loaders accept opens and computes the same, and says what it left out."""

from __future__ import annotations

import json
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, ROOT, model, runs, safetensors, write_checkpoint

NAME = "gqa_group"
IDS = np.arange(32) % 100
CONFIG = json.loads((CONFORMANCE / NAME / "config.json").read_text())
TENSORS = {name: ("F32", array) for name, array in safetensors(CONFORMANCE / NAME / "model.safetensors").items()}
LAYERS = CONFIG["num_hidden_layers"]
SPECIAL = {"mask_token_id": runs(NAME)[0]["mask_id"], "eos_token_id": runs(NAME)[0]["eos_id"]}


@pytest.fixture
def folder(tmp_path):
    """Writes a checkpoint of these tensors, and of the config with these changes (None removes a key)."""

    def write(tensors=TENSORS, name="model", **changes) -> Path:
        config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not ...}
        write_checkpoint(tmp_path / name, config, tensors)
        return tmp_path / name

    return write


def logits(path: Path, *notes: str, **options) -> np.ndarray:
    """Of a checkpoint that is opened with a warning for each note, in which its words stand."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with llada.Model.load(path, **{"threads": 1, **SPECIAL, **options}) as model:
            assert [str(each.message) for each in caught] == list(model.notes)
            assert all(each.category is llada.CheckpointWarning for each in caught)
            assert len(model.notes) == len(notes), model.notes
            for note, words in zip(model.notes, notes):
                assert words in note
            return model.logits(IDS, block_length=16)


def usual() -> np.ndarray:
    return model(NAME).logits(IDS, block_length=16)


# -- Tensors


@pytest.mark.parametrize("prefix", ["module.", "module.model.", "model.language_model.", "language_model.model.", ""])
def test_prefixes_are_recognised(folder, prefix):
    def renamed(name: str) -> str:
        if not name.startswith("model."):
            return {"module.": "module.", "module.model.": "module."}.get(prefix, "") + name
        return prefix + name.removeprefix("model.")

    assert np.array_equal(logits(folder({renamed(name): each for name, each in TENSORS.items()})), usual())


def test_one_tensor_under_two_names_is_refused(folder):
    with pytest.raises(llada.CheckpointError, match="same one under two names"):
        llada.Model.load(folder({**TENSORS, "module.model.norm.weight": TENSORS["model.norm.weight"]}))


def test_what_takes_no_part_is_left_out_by_name(folder):
    one = ("F32", np.ones(1, np.float32))
    extra = {
        f"model.layers.{LAYERS}.eh_proj.weight": one,
        f"model.layers.{LAYERS}.input_layernorm.weight": one,
        "mtp.fc.weight": one,
        "model.layers.0.attention.k_scale": one,
        "model.layers.0.attention.v_scale": one,
        "model.layers.0.attention.dense.input_scale": one,
        "model.rotary_emb.inv_freq": one,
        "model.position_ids": ("I64", np.arange(4)),
        "model.mask": ("BOOL", np.ones(4, bool)),
        "model.layers.1.rotary_emb.inv_freq": ("F8_E5M2", np.ones(4, np.uint8)),
    }
    path = folder({**TENSORS, **extra})
    words = (
        f"3 tensors (multi-token prediction): model.layers.{LAYERS}.eh_proj.weight",
        "3 tensors (scales",
        "4 tensors",
    )
    assert np.array_equal(logits(path, *words), usual())


def test_layers_of_prediction_are_told_from_a_config_that_is_wrong(folder):
    last = f"model.layers.{LAYERS - 1}."
    layer = {name.replace(last, f"model.layers.{LAYERS}."): each for name, each in TENSORS.items() if last in name}
    with pytest.raises(llada.UnsupportedError, match=f"layers.{LAYERS}"):
        llada.Model.load(folder({**TENSORS, **layer}))
    assert np.array_equal(logits(folder({**TENSORS, **layer}, "counted", num_nextn_predict_layers=1), "multi"), usual())
    layer[f"model.layers.{LAYERS}.enorm.weight"] = ("F32", np.ones(64, np.float32))
    assert np.array_equal(logits(folder({**TENSORS, **layer}, "marked"), "multi"), usual())


def test_a_tensor_of_an_unknown_part_is_refused(folder):
    with pytest.raises(llada.UnsupportedError, match="model.layers.0.adapter.weight"):
        llada.Model.load(folder({**TENSORS, "model.layers.0.adapter.weight": ("F32", np.ones(4, np.float32))}))


@pytest.mark.parametrize("dtype", ["auto", "f32", "bf16", "int8", "int4"])
def test_a_tied_head_is_the_embedding(folder, tmp_path, dtype):
    embedding = TENSORS["model.word_embeddings.weight"]
    untied = folder({**TENSORS, "lm_head.weight": embedding}, "untied")
    without = {name: each for name, each in TENSORS.items() if name != "lm_head.weight"}
    tied = folder(without, "tied", tie_word_embeddings=True)
    expected = logits(untied, dtype=dtype)
    assert np.array_equal(logits(tied, dtype=dtype), expected)
    # As in transformers 4, a head of its own is not looked at.
    both = folder(TENSORS, "both", tie_word_embeddings=True)
    assert np.array_equal(logits(both, "tie_word_embeddings", dtype=dtype), expected)
    if dtype in ("bf16", "int8", "int4"):
        with llada.Model.load(tied, dtype=dtype) as model:
            model.save(tmp_path / "saved")
            parameters = model.info.num_parameters
        assert np.array_equal(logits(tmp_path / "saved"), expected)
        with llada.Model.load(tmp_path / "saved") as model:
            assert model.info.num_parameters == parameters
    with pytest.raises(llada.CheckpointError, match="lm_head.weight"):
        llada.Model.load(folder(without, "headless", tie_word_embeddings=None))


# -- The index


def test_shards_and_their_index(folder, tmp_path):
    path = folder()
    names = list(TENSORS)
    index: dict = {"metadata": {"total_size": 1}, "weight_map": {}}
    for number, part in enumerate((names[::2], names[1::2])):
        write_checkpoint(tmp_path / f"part{number}", {}, {name: TENSORS[name] for name in part})
        (tmp_path / f"part{number}" / "model.safetensors").rename(path / f"{number}.safetensors")
        index["weight_map"].update(dict.fromkeys(part, f"{number}.safetensors"))
    index["weight_map"].update({"mtp.fc.weight": "0.safetensors", "mtp.norm.weight": "not-downloaded.safetensors"})
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    # The single file, which has other numbers, is left out.
    (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-4] + b"\0\0\1\0")
    notes = "model.safetensors", "not-downloaded", "mtp.fc.weight"
    assert np.array_equal(logits(path, *notes), usual())
    (path / "1.safetensors").unlink()
    with pytest.raises(llada.FileError, match="1.safetensors.*missing"):
        llada.Model.load(path)


# -- The config


@pytest.mark.parametrize(
    "changes",
    [
        {"use_bias": None, "tie_word_embeddings": None, "use_qkv_bias": None, "norm_head": None, "head_dim": None},
        {"hidden_size": float(CONFIG["hidden_size"]), "num_hidden_layers": float(LAYERS), "n_group": 4.0},
        {"model_type": "llada2_moe_veomni"},
        {"model_type": ...},
        {"eos_token_id": [3.0, 4.0], "pad_token_id": None, "sliding_window": None, "num_nextn_predict_layers": None},
    ],
)
def test_configs_as_tools_write_them(folder, changes):
    assert np.array_equal(logits(folder(**changes)), usual())


def test_an_assumed_default_is_named(folder):
    # Eight groups, of which four stay, of 16 experts: what LLaDA2's own config class says.
    path = folder(n_group=None, topk_group=..., routed_scaling_factor=None)
    explicit = folder(name="explicit", n_group=8, topk_group=4)
    assert np.array_equal(logits(path, "n_group 8, topk_group 4, routed_scaling_factor 2.5"), logits(explicit))


@pytest.mark.parametrize("key, value", [("hidden_size", 64.5), ("n_group", 1e300), ("vocab_size", "128")])
def test_what_is_no_whole_number_is_refused(folder, key, value):
    with pytest.raises(llada.CheckpointError, match=f"config.json: {key} is"):
        llada.Model.load(folder(**{key: value}))


@pytest.mark.parametrize("kind", ["bailing_moe_v2", "bailing_moe", "llama", "qwen3_moe"])
def test_models_of_other_kinds_are_refused_by_name(folder, kind):
    with pytest.raises(llada.UnsupportedError, match=f'model_type is "{kind}"'):
        llada.Model.load(folder(model_type=kind))


def test_a_model_that_deletes_and_inserts_picks_its_policy(folder):
    path = folder(delete_token_id=120, split_token_id=121)
    assert np.array_equal(logits(path), usual())
    with llada.Model.load(path, **SPECIAL) as model:
        assert (model.delete_token_id, model.split_token_id) == (120, 121)
        assert np.isfinite(model.score(IDS[:16], np.full(16, SPECIAL["mask_token_id"])).log_probs).all()
        assert model.decoder([1, 2, 3], block_length=16).policy == llada.Policy.levenshtein()
        assert model.decoder([1, 2, 3], llada.Policy.speedy(), block_length=16).policy == llada.Policy.speedy()
    with llada.Model.load(folder(name="other"), **SPECIAL) as model:
        assert model.delete_token_id is None and model.split_token_id is None
        assert model.decoder([1, 2, 3]).policy == llada.Policy.quality()
        with pytest.raises(llada.SpecialTokenError, match="delete_token_id and split_token_id"):
            model.generate([1, 2, 3], llada.Policy.levenshtein())
    with llada.Model.load(path, delete_token_id=5, split_token_id=6, **SPECIAL) as model:
        assert (model.delete_token_id, model.split_token_id) == (5, 6)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"split_token_id": 121}, "config.json: delete_token_id is missing; expected an id, as split_token_id is 121"),
        ({"delete_token_id": 121}, "config.json: split_token_id is missing"),
        ({"delete_token_id": 121, "split_token_id": 121}, "config.json: split_token_id is 121"),
        ({"delete_token_id": 127, "split_token_id": 121}, "config.json: delete_token_id is 127.*mask"),
        ({"delete_token_id": 120, "split_token_id": 126}, "config.json: split_token_id is 126.*ends no sequence"),
        ({"delete_token_id": 120, "split_token_id": 128}, "config.json: split_token_id is 128"),
    ],
)
def test_ids_of_edits_have_one_meaning(folder, values, words):
    path = folder(**values)
    with pytest.raises(llada.CheckpointError, match=words):
        llada.Model.load(path, **SPECIAL)


# -- Special ids


def test_the_mask_ends_nothing(folder):
    with pytest.raises(llada.InvalidArgumentError, match="eos_token_id is 7, which is the mask by the caller"):
        llada.Model.load(folder(), mask_token_id=7, eos_token_id=[6, 7])
    path = folder(name="files", mask_token_id=127, eos_token_id=[126, 127])
    with pytest.warns(llada.CheckpointWarning, match="left 127 out of eos_token_id of config.json"):
        assert llada.Model.load(path).eos_token_ids == (126,)
    # A list of nothing else: the next place is asked.
    (path / "generation_config.json").write_text('{"eos_token_id": 127}')
    with pytest.warns(llada.CheckpointWarning) as caught:
        assert llada.Model.load(path).eos_token_ids == (126,)
    assert len(caught) == 2
    with pytest.raises(llada.InvalidArgumentError, match="mask_token_id is 127, which ends a sequence"):
        llada.Model.load(path, mask_token_id=127)
    assert llada.Model.load(path, mask_token_id=5).eos_token_ids == (127,)


# -- Numbers that are none


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name",
    [
        "model.norm.weight",
        "model.layers.1.input_layernorm.weight",
        "model.layers.1.mlp.gate.weight",
        "model.layers.1.mlp.gate.expert_bias",
    ],
)
def test_a_small_tensor_that_is_not_finite_is_refused(folder, name, value):
    array = TENSORS[name][1].copy()
    array.flat[3] = value
    with pytest.raises(llada.NumericError, match=f'"{name}"'):
        llada.Model.load(folder({**TENSORS, name: ("F32", array)}))


@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.2.mlp.experts.5.down_proj.weight"])
def test_a_matrix_that_is_packed_is_checked(folder, name, dtype):
    array = TENSORS[name][1].copy()
    array[-1, -1] = np.nan
    with pytest.raises(llada.NumericError, match=f'"{name}"'):
        llada.Model.load(folder({**TENSORS, name: ("F32", array)}), dtype=dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "name, words",
    [
        ("model.word_embeddings.weight", "the embedding of token 9 at position 1"),
        ("model.layers.1.attention.dense.weight", "layer 1: the output of attention at position 0"),
        ("model.layers.0.mlp.down_proj.weight", "layer 0: the output of the feed-forward at position 0"),
        (f"model.layers.{LAYERS - 1}.mlp.shared_experts.up_proj.weight", f"layer {LAYERS - 1}: the output of the feed"),
        ("lm_head.weight", "logits at position [03]"),  # a step judges the rows that its policy reads
    ],
)
def test_a_step_names_layer_and_position(folder, name, words, value):
    array = TENSORS[name][1].copy()
    array[9, :] = value
    with llada.Model.load(folder({**TENSORS, name: ("F32", array)}), threads=1, **SPECIAL) as model:
        for policy in (llada.Policy.quality(), llada.Policy.quality().replace(temperature=1.0)):
            with pytest.raises(llada.NumericError, match=words):
                model.generate([5, 9, 5], policy, block_length=16, gen_length=16)
        with pytest.raises(llada.NumericError, match=words):
            model.logits([5, 9, 5], block_length=16)
        with pytest.raises(llada.NumericError):
            model.score([5, 9, 5, 6], [5, 9, SPECIAL["mask_token_id"], SPECIAL["mask_token_id"]])


# -- Files that are something else


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 976\n"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json", "chat_template.jinja"]
)
def test_a_pointer_in_place_of_a_file(tmp_path, name):
    path = tmp_path / "model"
    shutil.copytree(ROOT / "examples" / "models" / "tiny-2.1", path)
    (path / name).unlink(missing_ok=True)
    (path / name).write_bytes(POINTER)
    with pytest.raises(llada.Error, match=f"{name}.*git lfs pull"):
        llada.Model.load(path)


@pytest.mark.parametrize(
    "beginning, words",
    [
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"PK\3\4", "PyTorch"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\n <html>", "HTML"),
        (b"Entry not found", 'text that begins "Entry not found'),
        (b"", "has 0 bytes"),
    ],
)
def test_weights_that_are_something_else(folder, beginning, words):
    path = folder()
    (path / "model.safetensors").write_bytes(beginning + bytes(100 if beginning else 0))
    with pytest.raises(llada.CheckpointError, match=words):
        llada.Model.load(path)


@pytest.mark.parametrize(
    "path",
    [
        "inclusionAI/LLaDA2.1-mini",
        "inclusionAI/LLaDA2.1-mini/",
        "https://huggingface.co/inclusionAI/LLaDA2.1-mini/tree",
    ],
)
def test_an_id_of_the_hub(path):
    with pytest.raises(FileNotFoundError, match="hf download inclusionAI/LLaDA2.1-mini --local-dir LLaDA2.1-mini"):
        llada.Model.load(path)


def test_a_file_in_place_of_a_folder(folder):
    path = folder() / "model.safetensors"
    with pytest.raises(llada.FileError, match="is neither a folder nor a GGUF file"):
        llada.Model.load(path)
    pointer = path.with_name("model.gguf")
    pointer.write_bytes(POINTER)
    with pytest.raises(llada.FileError, match="model.gguf is a git-lfs pointer.*git lfs pull"):
        llada.Model.load(pointer)
    path.unlink()
    with pytest.raises(llada.Error, match="model.gguf is a git-lfs pointer.*git lfs pull"):
        llada.Model.load(path.parent)


@pytest.mark.parametrize(
    "path, words", [("no/such/folder", "no folder no/such/folder"), ("a/b.gguf", "no file a/b.gguf")]
)
def test_a_path_where_nothing_is(path, words):
    with pytest.raises(FileNotFoundError, match=f"there is {words}$"):
        llada.Model.load(path)


def test_types_that_nothing_is_computed_in_may_stand_in_a_file(folder):
    kinds = {"F8_E8M0": 1, "F8_E5M2": 1, "F64": 8, "U16": 2, "C64": 8}
    extra = {f"mtp.{kind}": (kind, np.zeros(4 * size, np.uint8)) for kind, size in kinds.items()}
    path = folder({**TENSORS, **extra})
    data = (path / "model.safetensors").read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    for kind in kinds:
        header[f"mtp.{kind}"]["shape"] = [4]
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[end:])
    assert np.array_equal(logits(path, "5 tensors"), usual())
