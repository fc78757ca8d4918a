"""Policies: presets, copies, and how they are written."""

from __future__ import annotations

import dataclasses

import pytest

from llada import Policy


def test_policies():
    assert Policy() == Policy.quality() == Policy.joint_threshold()
    assert Policy.speedy() == Policy.joint_threshold(threshold=0.5, editing_threshold=0.0)
    assert Policy.speedy(threshold=0.6).editing_threshold == 0.0
    assert Policy.quality(mbe_window=2, temperature=0.5, seed=3).replace(seed=4).seed == 4
    assert Policy.low_confidence(0.9, 16, 2) == Policy.low_confidence(threshold=0.9, steps=16, minimal_topk=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().threshold = 0.1
    assert len({Policy.speedy(), Policy.speedy(), Policy.quality()}) == 2
    for policy in (Policy.speedy(top_p=0.9), Policy.low_confidence(steps=3)):
        assert eval(repr(policy)) == policy
