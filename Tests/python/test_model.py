"""What is known of a model, and which ids are special to it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, load


def test_model_info():
    with load("gqa_group") as model:
        info = model.info
        assert (info.vocab_size, info.hidden_size, info.num_hidden_layers, info.num_experts) == (128, 64, 3, 16)
        assert (info.num_attention_heads, info.num_key_value_heads, info.head_dim) == (4, 2, 16)
        assert (model.mask_token_id, model.eos_token_id, info.threads) == (127, 126, 1)
        assert not info.has_tokenizer and not info.has_chat_template
        assert 0 < info.num_parameters * 4 <= info.weight_bytes + 4096
        assert (info.dtype, info.kv_dtype) == ("auto", "f32")
        assert "gqa_group" in repr(model)
    for dtype, kv_dtype, expected in (
        ("f32", "auto", "f32"),
        ("int8", "auto", "bf16"),
        ("int4", "f32", "f32"),
        ("f32", "bf16", "bf16"),
    ):
        with load("gqa_group", dtype=dtype, kv_dtype=kv_dtype) as model:
            assert (model.info.dtype, model.info.kv_dtype) == (dtype, expected)


# -- End-of-sequence ids

PROMPT = [1, 2, 3]
LONG = {"block_length": 8, "gen_length": 32}


def ids_of(folder, **options) -> tuple:
    with llada.Model.load(folder, threads=1, **options) as model:
        assert model.eos_token_ids == model.info.eos_token_ids
        assert model.eos_token_id == (model.eos_token_ids[0] if model.eos_token_ids else None)
        return model.eos_token_ids


def test_end_ids_as_given(tmp_path):
    folder = CONFORMANCE / "gqa_group"
    for given, expected in ((5, (5,)), ([5], (5,)), ([5, 6], (5, 6)), ((6, 5), (6, 5)), (np.array([7, 2]), (7, 2))):
        assert ids_of(folder, mask_token_id=127, eos_token_id=given) == expected
    assert ids_of(folder, mask_token_id=127, eos_token_id=np.int64(9)) == (9,)
    assert ids_of(folder) == ()  # the files say nothing, and LLaDA2's own is outside the vocabulary
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "generation_config.json").write_text(json.dumps({"eos_token_id": [126, 3]}))
    assert ids_of(tmp_path / "copy") == (126, 3)
    assert ids_of(tmp_path / "copy", eos_token_id=4) == (4,)


def test_each_of_them_ends_an_answer():
    with load("mini_like") as model:
        mask, whole = model.mask_token_id, model.generate(PROMPT, **LONG, eos_early_stop=False).tokens.tolist()
    first, second = list(dict.fromkeys(whole))[2:4]  # in the order in which they come
    for given, end in (([first, second], first), ([second, first], first), ([second], second), (first, first)):
        with llada.Model.load(CONFORMANCE / "mini_like", mask_token_id=mask, eos_token_id=given, threads=1) as model:
            answer = model.generate(PROMPT, **LONG)
            assert answer.finish_reason == "eos" and answer.tokens.tolist() == whole[: whole.index(end) + 1]


@pytest.mark.parametrize(
    "given, kind",
    [
        ([], ValueError),
        ([5, -1], ValueError),
        ([5, 128], ValueError),
        ("5", TypeError),
        ([5, 1.5], TypeError),
        (True, TypeError),
    ],
)
def test_what_is_no_end_id(given, kind):
    with pytest.raises(kind):
        llada.Model.load(CONFORMANCE / "gqa_group", mask_token_id=127, eos_token_id=given)
