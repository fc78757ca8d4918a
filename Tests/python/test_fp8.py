"""Checkpoints of float8 blocks, as the 2.1 release has them: held against the same numbers, decoded here and stored in
f32."""

from __future__ import annotations

import json

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


def encoded(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(codes, scales, what they mean)"""
    outputs, inputs = weight.shape
    rows, columns = -(-outputs // BLOCK[0]), -(-inputs // BLOCK[1])
    codes, scales = np.zeros(weight.shape, np.uint8), np.zeros((rows, columns), np.float32)
    means = np.zeros_like(weight)
    finite = np.where(np.isnan(VALUES), np.inf, VALUES)
    for r in range(rows):
        for c in range(columns):
            part = np.s_[r * BLOCK[0] : (r + 1) * BLOCK[0], c * BLOCK[1] : (c + 1) * BLOCK[1]]
            scales[r, c] = np.abs(weight[part]).max() / np.float32(448)
            codes[part] = np.abs((weight[part] / scales[r, c])[..., None] - finite).argmin(-1)
            means[part] = VALUES[codes[part]] * scales[r, c]
    return codes, scales, means


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("fp8")
    config = json.loads((CONFORMANCE / NAME / "config.json").read_text())
    ours, theirs = {}, {}
    for name, array in safetensors(CONFORMANCE / NAME / "model.safetensors").items():
        ours[name] = theirs[name] = ("F32", array)
        if array.ndim == 2 and ".layers." in name and "gate.weight" not in name:  # the router stays as it is
            codes, scales, means = encoded(array)
            ours[name], ours[f"{name}_scale_inv"] = ("F8_E4M3", codes), ("F32", scales)
            theirs[name] = ("F32", means)
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": BLOCK}
    write_checkpoint(base / "fp8", {**config, "quantization_config": quantization}, ours)
    write_checkpoint(base / "f32", config, theirs)
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
