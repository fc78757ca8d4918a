"""Credit decoding: a token that has been the favourite for some steps gets credit for it, which is added to its logit;
what the model keeps coming back to is written before it is sure.

After CreditThresholdParallelDecoder of inclusionAI/dInfer; paper: CreditDecoding (2025).
"""

from dataclasses import dataclass

import numpy as np

import llada
from common import softmax

POLICY = llada.Policy.joint_threshold(max_post_steps=0)  # a block is done when it has no masks


def at_threshold(masked: np.ndarray, logits: np.ndarray, threshold: float, mask_id: int) -> tuple:
    """dInfer's threshold: what comes within 1e-5 of the surest is filled as well, and never with the mask."""
    tokens, confidences = logits.argmax(-1), softmax(logits).max(-1)
    fillable = masked & (tokens != mask_id)
    cut = min(np.float32(threshold), confidences[fillable].max(initial=-1) - np.float32(1e-5))
    return fillable & (confidences >= cut), tokens


@dataclass
class Credit:
    threshold: float = 0.9
    alpha: float = 0.7
    gamma: float = 0.2
    beta: float = 0.8
    credit = None  # [active, vocab]

    def __call__(self, dec: llada.Decoder) -> list:
        rows = dec.rows
        if rows.block_step == 0:
            self.credit = None
        logits = self.fuse(dec.row_logits(), rows.masked)
        chosen, tokens = at_threshold(rows.masked, logits, self.threshold, dec.mask_token_id)
        return list(zip(rows.positions[chosen], tokens[chosen]))

    def fuse(self, logits: np.ndarray, masked: np.ndarray) -> np.ndarray:
        self.credit = np.zeros_like(logits) if self.credit is None else self.credit * np.float32(self.beta)
        rows, favourites = np.flatnonzero(masked), logits.argmax(-1)[masked]
        self.credit[rows, favourites] += softmax(logits)[rows, favourites] ** np.float32(self.gamma)
        return logits + np.float32(self.alpha) * np.log1p(self.credit)
