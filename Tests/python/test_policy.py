"""Policies: presets, copies, and how they are written."""

from __future__ import annotations

import dataclasses

import pytest

from conftest import ROOT
from llada import Model, Policy, Refresh, State


@pytest.fixture(scope="module")
def family():
    with Model.load(ROOT / "examples" / "models" / "tiny-2.1", threads=1) as model:
        yield model


def test_policies():
    assert Policy() == Policy.quality() == Policy.joint_threshold()
    assert Policy.speedy() == Policy.joint_threshold(threshold=0.5, editing_threshold=0.0)
    assert Policy.speedy(threshold=0.6).editing_threshold == 0.0
    assert Policy.quality(mbe_window=2, temperature=0.5, seed=3).replace(seed=4).seed == 4
    assert Policy.low_confidence(0.9, 16, 2) == Policy.low_confidence(threshold=0.9, steps=16, minimal_topk=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().threshold = 0.1
    assert len({Policy.speedy(), Policy.speedy(), Policy.quality()}) == 2
    for policy in (
        Policy.speedy(top_p=0.9),
        Policy.low_confidence(steps=3),
        Policy.quality(refresh=Refresh(below=0.5)),
    ):
        assert eval(repr(policy)) == policy


def test_refresh():
    assert Policy.low_confidence(refresh=True).refresh == Refresh(changed=1, below=0.0, every=None, exact=True)
    assert (
        Policy.speedy(refresh=True).refresh == Policy.quality(refresh=True).refresh == Refresh(below=0.99, exact=False)
    )
    assert Policy.speedy(refresh=False).refresh is Policy.speedy().refresh is None
    for refresh in (Refresh(), Refresh(2, 0.5, 3, False)):
        policy = Policy.levenshtein(refresh=refresh)
        assert Policy._from_struct(policy._as_struct()) == policy
    with pytest.raises(TypeError, match="Refresh or None, not True"):
        Policy.levenshtein(refresh=True)
    with pytest.raises(TypeError, match="Refresh, True or None, not 3"):
        Policy.speedy(refresh=3)
    for refresh in (Refresh(changed=0), Refresh(every=0)):
        with pytest.raises(ValueError, match="Refresh"):
            Policy.speedy(refresh=refresh)._as_struct()


def test_a_decoder_says_which_rows_ran(gqa):
    """Fewer than all, and all in the first step of a block; the same by hand, and written in a trace."""
    with gqa.decoder(
        list(range(5, 25)), policy=Policy.low_confidence(refresh=True), block_length=8, gen_length=24
    ) as dec:
        rows, trace = 0, dec.record()
        while not dec.finished:
            dec.forward()
            computed = dec.rows.computed
            assert computed.all() or dec.block_step > 0
            assert computed[dec.rows.masked].all()
            rows += computed.sum()
            dec.propose()
            dec.apply()
        assert rows < 8 * dec.forwards
        steps = [step.computed for step in trace.steps]
        assert sum(8 if computed is None else computed.sum() for computed in steps) == rows
        assert any(computed is not None for computed in steps)


@pytest.mark.parametrize("change", ["fork", "mask", "unlock"])
def test_what_the_policy_reads_only_after_the_forward(family, change):
    """A forward judges what the policy reads. If that changes before the proposal, the rest is judged too."""
    proposals = []
    for asked in (True, False):
        with family.decoder("What is 347 plus 586?", Policy.low_confidence(), gen_length=64) as dec:
            for _ in range(4):
                dec.step()
            rows = dec.rows
            draft, masked = (int(rows.positions[rows.states == state][0]) for state in (State.DRAFT, State.MASKED))
            if change == "unlock":
                dec.lock(masked)
            dec.step()  # what was asked before this forward is of no account in the next one
            dec.set(draft, dec.canvas[draft] + 1)
            dec.forward()
            if asked:
                assert len(dec.rows.predictions) == 32
            if change == "fork":
                with dec.fork(Policy.speedy(threshold=0.0, editing_threshold=0.0)) as fork:
                    fork.propose()
                    proposals.append(fork.proposal)
                continue
            if change == "mask":
                dec.mask(draft)
            else:
                dec.unlock(masked)
            dec.propose()
            proposals.append(dec.proposal)
    assert proposals[0] == proposals[1]
    assert proposals[0]
