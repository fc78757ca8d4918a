"""LLaDA2.1: masks are filled where the model is sure, and what is written is replaced where it has changed its mind.

After `generate` in the modelling code of inclusionAI/LLaDA2.1-mini; report: LLaDA2.1, equation 2. The penalty is that
of SGLang's JointThreshold: the logit of the token that stands to the left is lowered.
"""

from dataclasses import dataclass

import numpy as np

import llada
from common import softmax, sure_or_surest

POLICY = llada.Policy.joint_threshold(max_post_steps=2**31 - 1)  # the budget is the rule's to watch


@dataclass
class JointThreshold:
    threshold: float = 0.5
    editing_threshold: float = 0.0
    max_post_steps: int = 16
    num_to_transfer: int = 1
    penalty: float = 0.0
    stuck = False  # the step before filled and changed nothing

    def __call__(self, dec: llada.Decoder) -> list:
        rows = dec.rows
        predicted, sure = self.predict(dec, rows) if self.penalty else (rows.predictions, rows.confidences)
        fill = sure_or_surest(rows.masked, sure, self.threshold, self.num_to_transfer)
        edit = rows.drafts & (predicted != rows.tokens) & (sure > np.float32(self.editing_threshold))
        after = np.where(fill | edit, predicted, rows.tokens)
        had_masks, has_masks = rows.masked.any(), (after == dec.mask_token_id)[~rows.locked].any()
        self.post_steps = (self.post_steps if rows.block_step else 0) + (not had_masks)
        self.stuck = had_masks and np.array_equal(after, rows.tokens)
        if (not had_masks and not edit.any()) or (not has_masks and self.post_steps >= self.max_post_steps):
            dec.end_block()
        return list(zip(rows.positions[fill | edit], predicted[fill | edit]))

    def predict(self, dec: llada.Decoder, rows: llada.Rows) -> tuple:
        logits = dec.row_logits()
        inside = np.flatnonzero(rows.positions % dec.block_length)  # the first of a block has no left neighbour in it
        logits[inside, rows.tokens[inside - 1]] -= np.float32(self.penalty)
        if self.stuck:
            logits[:, dec.mask_token_id] = -np.inf
        return logits.argmax(-1), softmax(logits).max(-1)
