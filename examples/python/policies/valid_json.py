"""A constraint: whatever the model would rather say, its answer is a JSON object. Tokens are written from left to
right, as many a step as the model is sure of, and each must leave a text that can still be completed in the room there
is.

Constrained decoding as autoregressive decoders have it (Outlines, llguidance), on blocks of masks.
"""

import json
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

import llada
from common import softmax

POLICY = llada.Policy.joint_threshold(max_post_steps=0)  # a block is done when it has no masks
TAILS = ("", '"', "0", "e", "l", ":0", "{}", "ue", "se", "ll", '":0', "rue", "lse", "ull", '"":0', "alse")


def ending(text: str, room: int) -> "str | None":
    """How to complete a JSON object that begins with `text`, which has no backslashes; None if that takes more
    characters."""
    closers = ""
    for c in "".join(text.split('"')[::2]):  # outside of strings
        closers = {"{": "}", "[": "]"}.get(c, "") + (closers[1:] if c in "}]" else closers)
    for tail in TAILS:
        with suppress(ValueError, RecursionError):  # int refuses NaN and Infinity, which Python would take
            if isinstance(json.loads(text + tail + closers, parse_constant=int), dict):
                return tail + closers if len(tail + closers) <= room else None
    return None


@dataclass
class ValidJson:
    model: llada.Model
    threshold: float = 0.9

    def __post_init__(self) -> None:
        texts = (self.model.tokenizer.decode([token], skip_control=True) for token in range(self.model.vocab_size))
        self.texts = tuple(text if text.isprintable() and not {"\\", "\ufffd"} & {*text} else "" for text in texts)

    def __call__(self, dec: llada.Decoder) -> dict:
        rows, logits, end, edits = dec.rows, dec.row_logits(), dec.prompt_length + dec.gen_length, {}
        positions = rows.positions[rows.masked]
        text = "".join(self.texts[token] for token in dec.canvas[dec.prompt_length : positions.min(initial=end)])
        for position, row, chances in zip(positions, logits[rows.masked], softmax(logits[rows.masked])):
            token, room = self.model.eos_token_id, end - position - 1  # tokens to follow, each a character at least
            if ending(text, end) != "":
                token = next(t for t in np.argsort(-row, kind="stable") if self.allows(text, self.texts[t], room))
                if edits and chances[token] < self.threshold:
                    break
            text += self.texts[token]
            edits[position] = token
        return edits

    def allows(self, text: str, new: str, room: int) -> bool:
        return new != "" and "  " not in text + new and ending(text + new, room) is not None
