"""A threshold that falls with each step of a block: strict while little is known, lenient when what is left has seen
most of its neighbours.

In the spirit of OSDT (Beyond Static Cutoffs: One-Shot Dynamic Thresholding for Diffusion Language Models, 2025), which
has a threshold for each step of a block, calibrated on a first answer; here what is left between the first and the last
is halved every few steps.
"""

from dataclasses import dataclass

import numpy as np

import llada
from common import sure_or_surest

POLICY = llada.Policy.joint_threshold(max_post_steps=0)  # a block is done when it has no masks


@dataclass
class DecayingThreshold:
    first: float = 0.95
    last: float = 0.4
    half_life: float = 4.0  # steps

    def __call__(self, dec: llada.Decoder) -> np.ndarray:
        rows = dec.rows
        threshold = self.last + (self.first - self.last) * 0.5 ** (rows.block_step / self.half_life)
        return sure_or_surest(rows.masked, rows.confidences, threshold, at_least=1)
