"""Wide in, narrow out: masks are filled early, and a draft in which the model has lost faith, now that it sees what
stands around it, is masked again, to be filled another way. Each position is masked again but once, so that blocks end.

After WINO (Wide-In, Narrow-Out: Revokable Decoding for Efficient and Effective DLLMs, 2025), whose verification hides a
token from itself; here the token is seen, as by models that were trained to edit.
"""

from dataclasses import dataclass, field

import numpy as np

import llada
from common import softmax, sure_or_surest

POLICY = llada.Policy.joint_threshold()  # when a block is done is the rule's to say


@dataclass
class RemaskLowConfidence:
    wide: float = 0.5
    narrow: float = 0.5
    remasked: set = field(default_factory=set)

    def __call__(self, dec: llada.Decoder) -> dict:
        rows, everything = dec.rows, softmax(dec.row_logits())
        fill = sure_or_surest(rows.masked, rows.confidences, self.wide, at_least=1)
        still = everything[np.arange(len(rows.tokens)), rows.tokens]  # the probability of what stands there
        doubted = rows.drafts & (still < np.float32(self.narrow))
        again = set(rows.positions[doubted].tolist()) - self.remasked
        self.remasked |= again
        dec.end_block(not rows.masked.any() and not again)  # what was filled last is looked at once more
        return {
            **dict(zip(rows.positions[fill], rows.predictions[fill])),
            **dict.fromkeys(again, dec.mask_token_id),
        }
