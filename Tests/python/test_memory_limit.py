"""`memory_limit`: what counts, what is told before, and what happens beyond it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, ROOT, safetensors, write_checkpoint

MODELS = sorted(path.parent for path in (ROOT / "examples" / "models").glob("*/config.json"))
FOLDERS = [CONFORMANCE / name for name in CHECKPOINTS] + MODELS
MASK = 5


def near(told: int, counted: int) -> bool:
    return abs(told - counted) <= max(counted // 10, 1 << 20)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_opening_takes_what_was_told(folder):
    for row in llada.Model.describe(folder)["memory"]:
        with llada.Model.load(folder, dtype=row["dtype"], memory_limit=row["opening_bytes"]) as model:
            assert near(row["open_bytes"], model.memory_used) and model.memory_used <= row["opening_bytes"]
        with pytest.raises(llada.OutOfMemoryError, match=r"memory_limit is \d+ bytes, and \d+ of them are in use: no"):
            llada.Model.load(folder, dtype=row["dtype"], memory_limit=row["opening_bytes"] - 1)


@pytest.mark.parametrize("dtype", ["auto", "int8"])
def test_a_decoder_takes_what_was_told(dtype):
    folder = MODELS[0]
    (row,) = [row for row in llada.Model.describe(folder)["memory"] if row["dtype"] == dtype]
    with llada.Model.load(folder, dtype=dtype) as model:
        before = model.memory_used
        prompt = [int(token) for token in np.arange(480) % 64 + 256]
        with model.decoder(prompt, gen_length=32) as decoder:
            decoder.step()
            taken = model.memory_used - before
        keys = 512 * row["kv_bytes_per_token"]
        assert near(row["workspace_bytes"], taken - keys), (taken, keys)
        assert abs(taken - keys - row["workspace_bytes"]) < row["workspace_bytes"] // 10


def test_a_read_file_counts_and_a_mapped_one_does_not():
    folder = CONFORMANCE / "mini_like"
    size = (folder / "model.safetensors").stat().st_size
    with llada.Model.load(folder) as mapped, llada.Model.load(folder, use_mmap=False) as read:
        assert 0.9 * size < read.memory_used - mapped.memory_used <= size and mapped.memory_used < size // 10
    with pytest.raises(llada.OutOfMemoryError):
        llada.Model.load(folder, use_mmap=False, memory_limit=size // 2)


def limited(spare: int, **options) -> llada.Model:
    """A model that may take so many bytes beyond what opening needs."""
    folder = CONFORMANCE / "gqa_group"
    (row,) = [row for row in llada.Model.describe(folder)["memory"] if row["dtype"] == "auto"]
    return llada.Model.load(folder, memory_limit=row["opening_bytes"] + spare, mask_token_id=MASK, threads=1, **options)


def workspace() -> int:
    """What a forward of these tests takes beside keys and values."""
    with limited(1 << 30) as model:
        before = model.memory_used
        with model.decoder([1] * 64, block_length=8, gen_length=16) as decoder:
            decoder.step()
        return model.memory_used - before


def test_what_fails_can_be_tried_again():
    prompt = [1 + index % 4 for index in range(64)]
    with (
        llada.Model.load(CONFORMANCE / "gqa_group", mask_token_id=MASK, threads=1) as free,
        free.decoder(prompt, block_length=8, gen_length=16) as decoder,
    ):
        expected = list(decoder.run().result.tokens)
    model = limited(workspace() + (160 << 10))
    with model:
        held = []
        with pytest.raises(llada.OutOfMemoryError, match="memory_limit"):
            for _ in range(1000):
                decoder = model.decoder(prompt, block_length=8, gen_length=16)
                held.append(decoder)
                decoder.step()
        assert len(held) > 1
        used = model.memory_used
        # The one that failed goes on, and gives the same tokens, once another one is gone.
        with pytest.raises(llada.OutOfMemoryError):
            held[-1].step()
        for decoder in held[:-1]:
            decoder.close()
        assert model.memory_used < used
        assert list(held[-1].run().result.tokens) == expected
        held[-1].close()


def test_a_prefix_cache_makes_room():
    with limited(workspace() + (160 << 10)) as model, model.prefix_cache(1 << 30) as cache:
        for first in range(1, 5):
            for second in range(1, 5):
                prompt = [first, second] * 16
                with model.decoder(prompt, block_length=8, gen_length=8, prefix_cache=cache) as decoder:
                    decoder.run()
        assert cache.info.evicted_blocks > 0  # the limit of the model, not of the cache
        assert cache.info.bytes < 1 << 20
        cache.clear()


def test_scoring_forks_and_snapshots_fail_cleanly():
    prompt = [1 + index % 4 for index in range(32)]
    with limited(workspace() + (64 << 10)) as model:
        small = model.decoder(prompt, block_length=8, gen_length=8)
        small.step()
        snapshot = small.to_bytes()
        forks = []
        with pytest.raises(llada.OutOfMemoryError):
            for _ in range(1000):
                forks.append(model.restore(snapshot))
        assert forks
        fork = small.fork()
        with pytest.raises(llada.OutOfMemoryError):
            fork.run()
        for each in forks:
            each.close()
        fork.run()
        small.close()


@pytest.mark.parametrize("limit", [0, -1, 1 << 63])
def test_limits_that_cannot_be(limit):
    with pytest.raises(llada.InvalidArgumentError, match="memory_limit"):
        llada.Model.load(MODELS[0], memory_limit=limit)


def test_published_width(tmp_path):
    """A layer as wide as LLaDA2-mini's, with its vocabulary."""
    config = json.loads((CONFORMANCE / "gqa_group" / "config.json").read_text())
    config |= {"vocab_size": 157184, "hidden_size": 256, "num_hidden_layers": 1, "first_k_dense_replace": 1}
    config |= {"intermediate_size": 1024}
    heads, head = config["num_attention_heads"], config["head_dim"]
    width = (heads + 2 * config["num_key_value_heads"]) * head
    hidden, prefix = config["hidden_size"], "model.layers.0."
    shapes = {
        "model.word_embeddings.weight": (157184, hidden),
        "lm_head.weight": (157184, hidden),
        "model.norm.weight": (hidden,),
        prefix + "input_layernorm.weight": (hidden,),
        prefix + "post_attention_layernorm.weight": (hidden,),
        prefix + "attention.query_key_value.weight": (width, hidden),
        prefix + "attention.query_layernorm.weight": (head,),
        prefix + "attention.key_layernorm.weight": (head,),
        prefix + "attention.dense.weight": (hidden, heads * head),
        prefix + "mlp.gate_proj.weight": (1024, hidden),
        prefix + "mlp.up_proj.weight": (1024, hidden),
        prefix + "mlp.down_proj.weight": (hidden, 1024),
    }
    given = set(safetensors(CONFORMANCE / "gqa_group" / "model.safetensors"))
    assert {name for name in shapes if ".mlp." not in name} <= given
    write_checkpoint(
        tmp_path / "wide", config, {name: ("F16", np.ones(shape, np.float16)) for name, shape in shapes.items()}
    )
    for row in llada.Model.describe(tmp_path / "wide")["memory"]:
        with llada.Model.load(tmp_path / "wide", dtype=row["dtype"], memory_limit=row["opening_bytes"]) as model:
            assert abs(row["open_bytes"] - model.memory_used) <= model.memory_used // 10 + 4096, row
