"""LLaDA2.0: a mask is filled where the model is sure, or by quota, so that a block takes `steps` steps at most.

After `generate` in the modelling code of inclusionAI/LLaDA2.0-mini; report: LLaDA2.0.
"""

from dataclasses import dataclass

import numpy as np

import llada
from common import sure_or_surest

POLICY = llada.Policy.low_confidence()  # says how many steps a block has, and that it is done when no mask is left


@dataclass
class LowConfidence:
    threshold: float = 0.95

    def __call__(self, dec: llada.Decoder) -> np.ndarray:
        rows, length = dec.rows, dec.block_length
        steps = min(dec.policy.steps, dec.gen_length // dec.policy.minimal_topk) if dec.gen_length else dec.policy.steps
        quota = length // steps + (rows.block_step < length % steps)
        return sure_or_surest(rows.masked, rows.confidences, self.threshold, quota)
