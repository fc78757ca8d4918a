"""Snapshots: saved in one process, gone on with in another, as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, ROOT, load, model

PROMPT = [(7 * i + i // 5) % 100 for i in range(45)]


def options(**changes) -> dict:
    return {
        "policy": llada.Policy.speedy(temperature=0.9, seed=11),
        "block_length": 8,
        "gen_length": 24,
        "eos_early_stop": False,
        **changes,
    }


def rest(dec: llada.Decoder) -> list:
    """Everything the rest of a run shows, to the bit."""
    trace = []
    for step in dec:
        trace.append((step, dec.predictions.tobytes(), dec.confidences.tobytes(), dec.canvas.tobytes()))
    return [*trace, dec.canvas.tobytes(), dec.states.tobytes(), dec.finish_reason]


def begun(gqa: llada.Model, **changes) -> llada.Decoder:
    dec = gqa.decoder(PROMPT, **options(**changes))
    dec.step()
    dec.ban(3)
    dec.lock(50)
    dec.forward()
    dec.propose()
    return dec


@pytest.mark.parametrize("pages", [False, True])
def test_bytes_and_files_go_on(gqa, tmp_path, pages):
    dec = begun(gqa)
    content = dec.to_bytes(pages)
    computed = dec.computed_positions
    dec.save(tmp_path / "one", pages=pages)
    assert (tmp_path / "one").read_bytes() == content and os.listdir(tmp_path) == ["one"]
    other = load("gqa_group", threads=2)
    restored = [other.restore(content), other.restore(bytearray(content)), other.restore(tmp_path / "one")]
    restored.append(other.restore(str(tmp_path / "one"), other.prefix_cache(1 << 24)))
    for again in restored:
        assert (again.phase, again.locked, again.policy, again.gen_length) == ("proposed", {50}, dec.policy, 24)
        assert again.proposal == dec.proposal and again.events == dec.events
    expected = rest(dec)
    for again in restored:
        assert rest(again) == expected
    assert (restored[0].computed_positions == dec.computed_positions - computed) is pages


def test_another_process_goes_on(gqa, tmp_path):
    dec = begun(gqa)
    path = tmp_path / "decoder"
    dec.save(path, pages=True)
    program = (
        "import sys, llada\n"
        "model = llada.Model.load(sys.argv[1], mask_token_id=127, eos_token_id=126)\n"
        "dec = model.restore(sys.argv[2]).run()\n"
        "sys.stdout.buffer.write(dec.canvas.tobytes() + dec.confidences.tobytes())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
    out = subprocess.run(
        [sys.executable, "-c", program, CONFORMANCE / "gqa_group", path],
        check=True,
        capture_output=True,
        env=environment,
    ).stdout
    dec.run()
    assert out == dec.canvas.tobytes() + dec.confidences.tobytes()


def test_a_cache_in_another_process(gqa, tmp_path):
    path = tmp_path / "cache"
    with gqa.prefix_cache(1 << 24) as cache:
        gqa.decoder(PROMPT, **options(prefix_cache=cache)).run()
        assert cache.pin(PROMPT, 8) == 40
        cache.save(path)
        blocks = cache.info.blocks
    program = (
        "import sys, llada\n"
        "model = llada.Model.load(sys.argv[1], mask_token_id=127, eos_token_id=126)\n"
        "cache = model.prefix_cache(1 << 24)\n"
        "count = cache.load(sys.argv[2])\n"
        "options = {'block_length': 8, 'gen_length': 24, 'eos_early_stop': False, 'prefix_cache': cache}\n"
        f"dec = model.decoder({PROMPT}, llada.Policy.speedy(temperature=0.9, seed=11), **options)\n"
        "dec.run()\n"
        "print(count, cache.info.blocks, cache.info.pinned_blocks, dec.reused_positions, dec.canvas.tolist())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
    out = subprocess.run(
        [sys.executable, "-c", program, CONFORMANCE / "gqa_group", path],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    count, found, pinned, reused, canvas = out.split(maxsplit=4)
    assert int(count) == 8 * blocks and int(found) >= blocks and (pinned, reused) == ("5", "40")
    assert canvas.strip() == str(gqa.decoder(PROMPT, **options()).run().canvas.tolist())


def test_a_rule_is_given_again(gqa):
    def one_by_one(dec):
        return dec.masked[np.argsort(-dec.confidences[dec.masked], kind="stable")][:1]

    dec = gqa.decoder(PROMPT, **options(rule=one_by_one))
    dec.step()
    content = dec.to_bytes()
    assert gqa.restore(content).rule is None
    assert rest(gqa.restore(content, rule=one_by_one)) == rest(dec)


def test_refusals(gqa, tmp_path):
    content = begun(gqa).to_bytes()
    with pytest.raises(llada.SnapshotError, match="truncated") as refusal:
        gqa.restore(content[:-1])
    assert refusal.value.name == "LLADA_ERROR_SNAPSHOT" and isinstance(refusal.value, ValueError)
    with pytest.raises(llada.SnapshotError, match="checksum"):
        gqa.restore(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    with pytest.raises(llada.SnapshotError, match="no snapshot"):
        gqa.restore(b"")
    with pytest.raises(llada.SnapshotError, match="another model"):
        model("mini_like").restore(content)
    with pytest.raises(llada.SnapshotError, match="another model"):
        load("gqa_group", dtype="int8").restore(content)
    with pytest.raises(llada.SnapshotError, match="end-of-sequence"):
        llada.Model.load(CONFORMANCE / "gqa_group", mask_token_id=127, eos_token_id=5).restore(content)
    (tmp_path / "broken").write_bytes(content[:-9])
    with pytest.raises(llada.SnapshotError, match="broken"):
        gqa.restore(tmp_path / "broken")
    with pytest.raises(llada.SnapshotError, match="a decoder; expected a prefix cache"):
        (tmp_path / "whole").write_bytes(content)
        gqa.prefix_cache(1 << 20).load(tmp_path / "whole")
    with pytest.raises(llada.FileError):
        gqa.restore(tmp_path / "none")
    with pytest.raises(llada.FileError):
        begun(gqa).save(tmp_path / "no" / "where")
    with pytest.raises(TypeError):
        gqa.restore(content, prefix_cache={})
    with pytest.raises(ValueError):
        gqa.restore("a\0b")
    dec = begun(gqa)
    dec.close()
    with pytest.raises(llada.Error):
        dec.to_bytes()
