"""A constraint: whatever the model would rather say, its answer is a JSON object. Tokens are written from left to right, as many
a step as the model is sure of, and each must leave a text that can still be completed in the room there is.

Constrained decoding as autoregressive decoders have it (Outlines, llguidance), on blocks of masks.
"""

import json
from dataclasses import dataclass

import llada
import numpy as np
from common import softmax

POLICY = llada.Policy.joint_threshold(max_post_steps=0)  # a block is done when it has no masks
LITERALS = [word[i:] for word in ("true", "false", "null") for i in range(1, len(word))]
TAILS = sorted(["", '"', "0", ":0", '":0', '"":0', "{}", *LITERALS], key=len)


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")  # though Python would take it


def ending(text: str) -> "str | None":
    """A short way to complete a JSON object that begins with `text`, which has no backslashes; None if there is none."""
    closers = ""
    for c in "".join(text.split('"')[::2]):  # outside of strings
        closers = {"{": "}", "[": "]"}.get(c, "") + (closers[1:] if c in "}]" else closers)
    for tail in TAILS:
        try:
            if isinstance(json.loads(text + tail + closers, parse_constant=refuse), dict):
                return tail + closers
        except (ValueError, RecursionError):
            pass
    return None


@dataclass
class ValidJson:
    model: llada.Model
    threshold: float = 0.9

    def __post_init__(self) -> None:
        texts = (self.model.tokenizer.decode([token], skip_control=True) for token in range(self.model.vocab_size))
        self.texts = tuple("" if "\\" in text or "\ufffd" in text else text for text in texts)  # "": not to be written

    def __call__(self, dec: llada.Decoder) -> dict:
        window, logits, end, edits = dec.window, dec.window_logits(), dec.prompt_length + dec.gen_length, {}
        positions = window.positions[window.masked]
        text = "".join(self.texts[token] for token in dec.canvas[dec.prompt_length : positions.min(initial=end)])
        for position, row, chances in zip(positions, logits[window.masked], softmax(logits[window.masked])):
            token = self.model.eos_token_id
            if ending(text) != "":
                token = next(t for t in np.argsort(-row, kind="stable") if self.fits(text, t, end - position - 1))
                if edits and chances[token] < self.threshold:
                    break
            text += self.texts[token]
            edits[position] = token
        return edits

    def fits(self, text: str, token: int, room: int) -> bool:
        after = text + self.texts[token]
        if after == text or "  " in after or not after.isprintable():  # white space could go on for ever
            return False
        rest = ending(after)
        return rest is not None and len(rest) <= room  # each of its characters is a token
