"""Inside the model: routers, hidden states and experts against the reference and against NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, model, safetensors


def over(name: str, ids: np.ndarray, block: int, length: int) -> llada.Decoder:
    """A decoder whose active block is block `block` of `ids`."""
    before = ids[: max(block * length, 1)]  # a prompt has a token at least
    gen_length = (block + 1) * length - len(before)
    dec = model(name).decoder(before, block_length=length, gen_length=gen_length, eos_early_stop=False)
    for position in range(len(before), (block + 1) * length):
        if ids[position] != dec.mask_token_id:  # what is not set is masked
            dec.set(position, ids[position])
    return dec


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_routers_choose_as_the_reference(name):
    reference = safetensors(CONFORMANCE / name / "forward.safetensors")
    info = model(name).info
    compared = 0
    for key in reference:
        if not key.endswith(".ids"):
            continue
        ids, prefix, length = reference[key], key[:-4], int(key[1:-4])
        for block in range(len(ids) // length):
            rows = slice(block * length, (block + 1) * length)
            with over(name, ids, block, length) as dec:
                dec.watch(routing=True)
                dec.forward()
                assert dec.rows.tokens.tolist() == ids[rows].tolist()
                for layer in range(info.first_k_dense_replace, info.num_hidden_layers):
                    experts, weights = dec.routing(layer)
                    assert experts.shape == weights.shape == (length, info.num_experts_per_tok)
                    assert experts.dtype == np.int32 and weights.dtype == np.float32
                    theirs = reference[f"{prefix}.L{layer}.idx"][rows]
                    order = theirs.argsort(-1)
                    assert np.array_equal(experts, np.take_along_axis(theirs, order, -1))
                    expected = np.take_along_axis(reference[f"{prefix}.L{layer}.w"][rows], order, -1)
                    assert np.abs(weights - expected).max() < 1e-4
                    compared += len(experts)
    assert compared >= 80


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_norm_and_head_make_logits_of_the_last_layer(name):
    weights = safetensors(CONFORMANCE / name / "model.safetensors")
    epsilon = json.loads((CONFORMANCE / name / "config.json").read_text())["rms_norm_eps"]
    with model(name).decoder([1, 2, 3, 4, 5], block_length=8, gen_length=19, eos_early_stop=False) as dec:
        dec.watch(hidden=True)
        while not dec.finished:
            dec.forward()
            hidden = dec.hidden(model(name).info.num_hidden_layers - 1)
            assert hidden.dtype == np.float32
            normed = hidden / np.sqrt((hidden.astype(float) ** 2).mean(-1, keepdims=True) + epsilon)
            logits = normed * weights["model.norm.weight"] @ weights["lm_head.weight"].T.astype(float)
            assert np.abs(logits - dec.row_logits()).max() < 1e-3
            dec.propose()
            dec.apply()


def test_each_layer_gives_something_else(gqa):
    with gqa.decoder([1, 2, 3], block_length=8, gen_length=8) as dec:
        dec.watch(hidden=True)
        dec.forward()
        states = [dec.hidden(layer) for layer in range(gqa.info.num_hidden_layers)]
        assert all(state.shape == (8, gqa.info.hidden_size) for state in states)
        assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(states, states[1:]))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_usage_counts_the_choices(name):
    info = model(name).info
    expected = np.zeros((info.num_hidden_layers, info.num_experts), np.uint64)
    with model(name).decoder([1, 2, 3, 4, 5], block_length=8, gen_length=19, eos_early_stop=False) as dec:
        dec.watch(routing=True)
        while not dec.finished:
            dec.forward()
            for layer in range(info.first_k_dense_replace, info.num_hidden_layers):
                experts = dec.routing(layer).experts
                assert (np.diff(experts, axis=-1) > 0).all()
                np.add.at(expected[layer], experts.ravel(), 1)
            dec.propose()
            dec.apply()
        assert dec.expert_usage.dtype == np.uint64
        assert np.array_equal(dec.expert_usage, expected)
        layers = info.num_hidden_layers - info.first_k_dense_replace
        assert expected.sum() == dec.forwards * 8 * info.num_experts_per_tok * layers
        dec.watch(routing=True)
        assert dec.expert_usage.sum() == 0


def test_an_expert_that_is_off_is_not_chosen(gqa):
    layer = gqa.info.first_k_dense_replace
    with gqa.decoder(range(1, 13), block_length=8, gen_length=20) as dec:
        dec.watch(routing=True)
        dec.forward()
        plain = dec.row_logits()
        expert = int(dec.routing(layer).experts[0, 0])
        dec.disable_expert(expert, layer)
        dec.forward()
        assert expert not in dec.routing(layer).experts and np.abs(dec.row_logits() - plain).max() > 1e-3
        with dec.fork() as fork:  # which has it off as well
            fork.watch(routing=True)
            fork.run()
            assert fork.expert_usage[layer, expert] == 0 and fork.expert_usage[layer].sum() > 0
        dec.disable_expert(expert, layer, disabled=False)
        dec.forward()
        assert np.array_equal(dec.row_logits(), plain)


def test_watching_changes_nothing(gqa):
    plain = gqa.generate([1, 2, 3, 4, 5], block_length=8, gen_length=32)
    with gqa.decoder([1, 2, 3, 4, 5], block_length=8, gen_length=32) as dec:
        dec.watch(routing=True, hidden=True)
        result = dec.run().result
    assert (result.tokens.tolist(), result.forwards) == (plain.tokens.tolist(), plain.forwards)


def test_refusals(gqa):
    info = gqa.info
    layer = info.first_k_dense_replace
    with gqa.decoder([1, 2, 3], block_length=8, gen_length=8) as dec:
        for look in (lambda: dec.routing(layer), lambda: dec.hidden(0), lambda: dec.expert_usage):
            with pytest.raises(llada.StateError, match="watch"):
                look()
        dec.forward()
        dec.watch(routing=True, hidden=True)
        with pytest.raises(llada.StateError, match="forward"):
            dec.routing(layer)  # that forward was not watched
        dec.forward()
        for wrong in (-1, 0, info.num_hidden_layers):  # the first layer is dense
            with pytest.raises(llada.InvalidArgumentError, match="layer"):
                dec.routing(wrong)
            with pytest.raises(llada.InvalidArgumentError, match="layer"):
                dec.disable_expert(0, wrong)
        for wrong in (-1, info.num_hidden_layers):
            with pytest.raises(llada.InvalidArgumentError, match="layer"):
                dec.hidden(wrong)
        with pytest.raises(llada.InvalidArgumentError, match="expert"):
            dec.disable_expert(info.num_experts, layer)
        with pytest.raises(TypeError, match="layer"):
            dec.routing("1")
        with pytest.raises(llada.InvalidArgumentError):
            for expert in range(info.num_experts):
                dec.disable_expert(expert, layer)
        dec.watch()
        dec.forward()
        with pytest.raises(llada.StateError):
            dec.hidden(0)
    with pytest.raises(llada.ClosedError):
        dec.routing(layer)
    with gqa.prefix_cache(1 << 20) as cache, pytest.raises(llada.StateError, match="cache"):
        gqa.decoder([1], prefix_cache=cache, gen_length=8).disable_expert(0, layer)
