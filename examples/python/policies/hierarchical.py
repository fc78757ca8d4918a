"""Hierarchical decoding: of each run of masks the surest one is filled, if it is not too unsure, so that runs are split
in the middle and what is left has neighbours on both sides; and besides, as ever, what the model is sure of.

After HierarchyDecoder of inclusionAI/dInfer.
"""

from dataclasses import dataclass

import numpy as np

import llada

POLICY = llada.Policy.joint_threshold(max_post_steps=0)  # a block is done when it has no masks


def hierarchy(masked: np.ndarray, confidences: np.ndarray, threshold: float, low_threshold: float) -> np.ndarray:
    sure = np.where(masked, confidences, np.float32(-1))
    chosen = sure > np.float32(threshold)
    for start, end in np.flatnonzero(np.diff(np.r_[False, masked, False])).reshape(-1, 2):  # runs of masks
        best = start + sure[start:end].argmax()
        chosen[best] |= sure[best] > np.float32(low_threshold)
    chosen[sure.argmax()] |= masked.any()
    return chosen


@dataclass
class Hierarchical:
    threshold: float = 0.9
    low_threshold: float = 0.4

    def __call__(self, dec: llada.Decoder) -> np.ndarray:
        rows = dec.rows
        return hierarchy(rows.masked, rows.confidences, self.threshold, self.low_threshold)
