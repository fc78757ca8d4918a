"""Checkpoints of float8 blocks, as the 2.1 release has them: held against the same numbers, decoded here and stored in
f32."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, runs, safetensors, write_checkpoint

BLOCK = (24, 20)  # divides no matrix of the model evenly
NAME = "gqa_group"


def e4m3(code: int) -> float:
    """OCP 8-bit floating point, E4M3: from its definition."""
    sign, exponent, mantissa = -1.0 if code & 128 else 1.0, code >> 3 & 15, code & 7
    if code & 127 == 127:
        return float("nan")
    return sign * (mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10))


VALUES = np.array([e4m3(code) for code in range(256)], np.float32)


ORDER = np.argsort(np.where(np.isnan(VALUES), np.inf, VALUES))[:-2]  # the codes of numbers, by their values


def nearest(numbers: np.ndarray) -> np.ndarray:
    """The codes of the values next to these numbers."""
    values = VALUES[ORDER]
    return ORDER[np.searchsorted((values[1:] + values[:-1]) / 2, numbers)].astype(np.uint8)


@cache
def source() -> dict:
    return safetensors(CONFORMANCE / NAME / "model.safetensors")


def encoded(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(codes, scales, what they mean)"""
    outputs, inputs = weight.shape
    rows, columns = -(-outputs // BLOCK[0]), -(-inputs // BLOCK[1])
    codes, scales = np.zeros(weight.shape, np.uint8), np.zeros((rows, columns), np.float32)
    means = np.zeros_like(weight)
    for r in range(rows):
        for c in range(columns):
            part = np.s_[r * BLOCK[0] : (r + 1) * BLOCK[0], c * BLOCK[1] : (c + 1) * BLOCK[1]]
            scales[r, c] = np.abs(weight[part]).max() / np.float32(448)
            codes[part] = nearest(weight[part] / scales[r, c])
            means[part] = VALUES[codes[part]] * scales[r, c]
    return codes, scales, means


QUANTIZATION = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": BLOCK}
CONFIG = json.loads((CONFORMANCE / NAME / "config.json").read_text())


def is_float8(name: str, array: np.ndarray) -> bool:
    """Whether a matrix is of those that releases have in float8; the router stays as it is."""
    return array.ndim == 2 and ".layers." in name and "gate.weight" not in name


def checkpoint(scale_name="_scale_inv", scale=lambda scales: ("F32", scales), wanted=is_float8):
    """(tensors in float8, the same numbers in f32)"""
    ours, theirs = {}, {}
    for name, array in source().items():
        ours[name] = theirs[name] = ("F32", array)
        if wanted(name, array):
            codes, scales, _ = encoded(array)
            kind, stored = scale(scales)
            ours[name], ours[name + scale_name] = ("F8_E4M3", codes), (kind, stored)
            theirs[name] = ("F32", decoded(codes, kind, stored))
    return ours, theirs


def decoded(codes: np.ndarray, kind: str, scales: np.ndarray) -> np.ndarray:
    """The numbers, by the definitions of the formats."""
    if kind == "F8_E8M0":
        scales = np.ldexp(np.float32(1), scales.astype(np.int32) - 127)
    elif kind == "BF16":
        scales = (scales.astype(np.uint32) << 16).view(np.float32)
    spread = scales.repeat(BLOCK[0], 0).repeat(BLOCK[1], 1)[: codes.shape[0], : codes.shape[1]]
    return VALUES[codes] * spread


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("fp8")
    ours, theirs = checkpoint()
    write_checkpoint(base / "fp8", {**CONFIG, "quantization_config": QUANTIZATION}, ours)
    write_checkpoint(base / "f32", CONFIG, theirs)
    return base


def logits(folder, dtype: str) -> np.ndarray:
    ids = runs(NAME)[0]
    with llada.Model.load(folder, dtype=dtype, mask_token_id=ids["mask_id"], eos_token_id=ids["eos_id"]) as model:
        return np.array(model.logits(np.arange(48) % 100, block_length=16))


def test_float8_weights_are_their_values_times_their_scales(folders):
    assert np.array_equal(logits(folders / "fp8", "f32"), logits(folders / "f32", "f32"))


@pytest.mark.parametrize("dtype", ["auto", "bf16", "int8"])
def test_float8_is_held_as_wished(folders, dtype):
    exact, held = logits(folders / "f32", "f32"), logits(folders / "fp8", dtype)
    error = np.abs(exact - held)
    assert error.max() > 0  # something was rounded,
    assert np.median(error) < 0.1 * np.median(np.abs(exact))  # and a row may go to another expert


@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
def test_float8_is_saved_packed(folders, tmp_path, dtype):
    with llada.Model.load(folders / "fp8", dtype=dtype) as model:
        model.save(tmp_path / "saved")
    assert np.array_equal(logits(tmp_path / "saved", "auto"), logits(folders / "fp8", dtype))


def test_float8_without_a_word_on_its_scales_is_refused(folders, tmp_path):
    config = json.loads((folders / "fp8" / "config.json").read_text())
    del config["quantization_config"]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "model.safetensors").symlink_to(folders / "fp8" / "model.safetensors")
    with pytest.raises(llada.Error, match="F8_E4M3"):
        llada.Model.load(broken)


def bf16(scales: np.ndarray) -> tuple[str, np.ndarray]:
    return "BF16", (scales.view(np.uint32) >> 16).astype(np.uint16)


def e8m0(scales: np.ndarray) -> tuple[str, np.ndarray]:
    return "F8_E8M0", (np.frexp(scales)[1] + 127).astype(np.uint8)


def compressed(**weights) -> dict:
    """What compressed-tensors writes: one group, with these numbers of its weights."""
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False, "group_size": None, **weights}
    activations = {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128, "dynamic": True}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head", "re:.*mlp.gate$"],
        "kv_cache_scheme": None,
    }


@pytest.mark.parametrize(
    "scale_name, scale, quantization",
    [
        ("_scale_inv", bf16, QUANTIZATION),
        ("_scale_inv", e8m0, QUANTIZATION),
        ("_scale", lambda scales: ("F32", scales), compressed(strategy="block", block_structure=list(BLOCK))),
        ("_scale", bf16, compressed(strategy="block", block_structure=[float(size) for size in BLOCK])),
        ("_scale", e8m0, {**QUANTIZATION, "modules_to_not_convert": None}),
    ],
)
def test_scales_by_other_names_and_in_other_formats(tmp_path, scale_name, scale, quantization):
    ours, theirs = checkpoint(scale_name, scale)
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": quantization}, ours)
    write_checkpoint(tmp_path / "f32", CONFIG, theirs)
    assert np.array_equal(logits(tmp_path / "fp8", "f32"), logits(tmp_path / "f32", "f32"))


@pytest.mark.parametrize("strategy", ["channel", "tensor"])
def test_a_scale_for_each_output_or_each_matrix(tmp_path, strategy):
    ours, theirs = {}, {}
    for name, array in source().items():
        ours[name] = theirs[name] = ("F32", array)
        if is_float8(name, array):
            largest = np.abs(array).max(1, keepdims=True) if strategy == "channel" else np.abs(array).max(keepdims=True)
            scales = largest / np.float32(448)
            codes = nearest(array / scales)
            stored = scales if strategy == "channel" else scales.reshape(1)
            ours[name], ours[f"{name}_scale"] = ("F8_E4M3", codes), ("F32", stored)
            theirs[name] = ("F32", VALUES[codes] * scales)
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": compressed(strategy=strategy)}, ours)
    write_checkpoint(tmp_path / "f32", CONFIG, theirs)
    assert np.array_equal(logits(tmp_path / "fp8", "f32"), logits(tmp_path / "f32", "f32"))


def test_every_matrix_in_float8(tmp_path):
    """Embedding, head and routers too. The table is held in bf16, so the scales are powers of two, which it holds
    exactly."""
    ours, theirs = checkpoint(scale=e8m0, wanted=lambda _, array: array.ndim == 2)
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": QUANTIZATION}, ours)
    write_checkpoint(tmp_path / "f32", CONFIG, theirs)
    expected = logits(tmp_path / "f32", "f32")
    for dtype in ("f32", "auto"):
        assert np.array_equal(logits(tmp_path / "fp8", dtype), expected)
    with llada.Model.load(tmp_path / "fp8", dtype="int8") as model:
        model.save(tmp_path / "saved")
    assert np.array_equal(logits(tmp_path / "saved", "auto"), logits(tmp_path / "fp8", "int8"))
    del ours["lm_head.weight"], ours["lm_head.weight_scale_inv"]
    config = {**CONFIG, "quantization_config": QUANTIZATION, "tie_word_embeddings": True}
    write_checkpoint(tmp_path / "tied", config, ours)
    write_checkpoint(tmp_path / "untied", CONFIG, {**theirs, "lm_head.weight": theirs["model.word_embeddings.weight"]})
    assert np.array_equal(logits(tmp_path / "tied", "f32"), logits(tmp_path / "untied", "f32"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_scale_that_can_be_none_is_refused(tmp_path, value):
    ours, _ = checkpoint()
    name = "model.layers.1.mlp.shared_experts.up_proj.weight_scale_inv"
    ours[name][1][1, 2] = value
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": QUANTIZATION}, ours)
    with pytest.raises(llada.NumericError, match=rf'"{name}": the scale at \[1, 2\]'):
        llada.Model.load(tmp_path / "fp8")


def test_an_exponent_that_is_none_is_refused(tmp_path):
    ours, _ = checkpoint(scale=e8m0)
    ours["model.layers.1.attention.dense.weight_scale_inv"][1][0, 0] = 255
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": QUANTIZATION}, ours)
    with pytest.raises(llada.NumericError, match="attention.dense.weight_scale_inv"):
        llada.Model.load(tmp_path / "fp8")


def test_a_weight_that_is_not_a_number_is_refused(tmp_path):
    ours, _ = checkpoint()
    ours["model.layers.1.attention.dense.weight"][1][7, 3] = 0x7F
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": QUANTIZATION}, ours)
    for dtype in ("auto", "f32", "int4"):
        with pytest.raises(llada.NumericError, match="attention.dense.weight"):
            llada.Model.load(tmp_path / "fp8", dtype=dtype)


@pytest.mark.parametrize(
    "quantization, words",
    [
        ({"quant_method": "fp8", "weight_block_size": None}, "weight_block_size is null"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size"),
        ({"quant_method": "gptq", "bits": 4}, " is .gptq"),
        ({"bits": 4}, " is an object without a quant_method"),
        (compressed(strategy="tensor_group"), "strategy is .tensor_group"),
        (compressed(strategy="block", block_structure=[128, 128], num_bits=4), "num_bits is 4"),
        (compressed(strategy="channel", type="int"), "type is .int"),
        (compressed(strategy="block", block_structure=None), "block_structure is null"),
        ({"quant_method": "compressed-tensors"}, "config_groups is missing"),
    ],
)
def test_other_layouts_are_refused_by_name(tmp_path, quantization, words):
    write_checkpoint(tmp_path / "fp8", {**CONFIG, "quantization_config": quantization}, checkpoint()[0])
    with pytest.raises(llada.UnsupportedError, match=f"config.json: quantization_config.*{words}"):
        llada.Model.load(tmp_path / "fp8")
