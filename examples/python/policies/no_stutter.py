"""LLaDA2.1's decoder with a penalty against stuttering. Tokens that are written in the same step do not know of each
other, and so neighbours tend to become the same one. SGLang's penalty lowers the logit of what stands to the left;
here, what is predicted there counts as well, and what stands or is predicted to the right.

A wider form of the penalty_lambda of SGLang's JointThreshold.
"""

from dataclasses import dataclass

import numpy as np

import llada
from common import softmax
from joint_threshold import POLICY, JointThreshold  # noqa: F401 (the policy is part of the example)


@dataclass
class NoStutter(JointThreshold):
    penalty: float = 1.0

    def predict(self, dec: llada.Decoder, rows: llada.Rows) -> tuple:
        logits = dec.row_logits()
        there = np.where(rows.masked, rows.predictions, rows.tokens)
        rows = np.arange(len(there))
        logits[rows[1:], there[:-1]] -= np.float32(self.penalty)
        logits[rows[:-1], there[1:]] -= np.float32(self.penalty)
        if self.stuck:
            logits[:, dec.mask_token_id] = -np.inf
        return logits.argmax(-1), softmax(logits).max(-1)
