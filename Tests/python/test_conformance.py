"""What the reference implementations compute, through Python: logits, tokens, canvases, numbers of forwards."""

from __future__ import annotations

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, cases, decoder, model, safetensors


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits(name):
    reference = safetensors(CONFORMANCE / name / "forward.safetensors")
    lengths = sorted({key.split(".")[0] for key in reference})
    assert lengths
    for key in lengths:
        ids, expected = reference[f"{key}.ids"], reference[f"{key}.logits"]
        logits = model(name).logits(ids, block_length=int(key[1:]))
        assert logits.shape == expected.shape and logits.dtype == np.float32
        assert np.abs(logits - expected).max() < 2e-4, key


@pytest.mark.parametrize("run", cases("hf20", "hf21"))
def test_decoding(run):
    with decoder(run) as dec:
        dec.run()
        if run["tie_ambiguous"]:
            assert dec.tokens.tolist() == run["tie_lowest_index_output"]
        else:
            assert dec.tokens.tolist() == run["output"]
            assert dec.canvas.tolist() == run["canvas"]
            assert dec.forwards == run["forwards"]


@pytest.mark.parametrize("run", cases("sglang_LowConfidence", "sglang_JointThreshold"))
def test_decoding_like_sglang(run):
    with decoder(run) as dec:
        assert dec.run().tokens.tolist() == run["output"]


@pytest.mark.parametrize("run", cases("hf20", "hf21"))
def test_every_step_by_hand(run):
    """forward, propose and apply one by one pass through the same blocks with the same decisions."""
    length = run["block_length"]
    with decoder(run) as dec:
        for step in run["steps"]:
            block = slice(step["block"] * length, (step["block"] + 1) * length)
            assert dec.active == range(block.start, block.stop)
            assert dec.canvas[block].tolist() == step["input"]
            dec.forward()
            if "pred" in step:
                open_to_change = np.flatnonzero(dec.states[block] != llada.State.PROMPT)
                assert (
                    dec.predictions[block][open_to_change].tolist() == np.array(step["pred"])[open_to_change].tolist()
                )
                assert np.abs(dec.confidences[block] - step["conf"])[open_to_change].max() < 2e-4
            proposal = dec.propose()
            if "m2t" in step:
                by_reason = {}
                for edit in proposal:
                    by_reason.setdefault(edit.reason, []).append(edit.position % length)
                filled = by_reason.pop("fallback" if step["fallback"] else "threshold", [])
                replaced = by_reason.pop("edit", []) + by_reason.pop("post_edit", [])
                assert not by_reason
                assert sorted(filled) == sorted(step["m2t"])
                assert sorted(replaced) == sorted(step["t2t"])
            events = dec.apply()
            assert [(e.position, e.new) for e in events] == [(e.position, e.token) for e in proposal]
        assert dec.finished
        assert dec.tokens.tolist() == run["output"]


@pytest.mark.parametrize("run", cases("hf21", "hf20")[::5])
def test_without_the_cache(run):
    """Same tokens, same logits to the bit."""
    with decoder(run) as cached, decoder(run, use_cache=False) as plain:
        while not cached.finished:
            cached.forward()
            plain.forward()
            position = cached.active[-1]
            assert np.array_equal(cached.logits(position), plain.logits(position))
            assert np.array_equal(cached.confidences, plain.confidences)
            for dec in (cached, plain):
                dec.propose()
                dec.apply()
        assert plain.finished
        assert np.array_equal(cached.canvas, plain.canvas)
        assert cached.forwards == plain.forwards


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_number_of_threads_does_not_matter(name):
    ids = safetensors(CONFORMANCE / name / "forward.safetensors")
    key = max((key for key in ids if key.endswith(".ids")), key=lambda key: len(ids[key]))
    sequence, length = ids[key], int(key[1:].split(".")[0])
    one = model(name)
    for threads in (2, 3):
        more = model(name, threads=threads)
        assert more.info.threads == threads
        assert np.array_equal(one.logits(sequence, length), more.logits(sequence, length))
        for policy in (llada.Policy.speedy(), llada.Policy.quality(mbe_window=2), llada.Policy.low_confidence()):
            a = one.generate(sequence[:11], policy, block_length=8, gen_length=40, eos_early_stop=False)
            b = more.generate(sequence[:11], policy, block_length=8, gen_length=40, eos_early_stop=False)
            assert np.array_equal(a.tokens, b.tokens) and a.forwards == b.forwards and a.edits == b.edits
