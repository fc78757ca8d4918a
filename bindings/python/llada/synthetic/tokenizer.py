"""A tokenizer of the published size, made up: byte-level BPE, the same in every run.

Its first merges are of English words and of the letters of other scripts, so that text becomes about as many tokens as
a real one makes of it; the rest are compounds. The ids of special tokens are those of the published tokenizers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import count
from string import ascii_letters
from typing import Any

from .words import ENDINGS, PAIRS, WORDS

BASE = 156_891
"""Tokens of the byte-level vocabulary; 256 of them are the bytes, and each other one has its merge."""

ADDED = 262
"""Special tokens behind them."""

SPECIAL = {
    "<|startoftext|>": 156_891,
    "<|endoftext|>": 156_892,
    "[CLS]": 156_893,
    "[gMASK]": 156_894,
    "<|mask|>": 156_895,
    "<role>": 156_896,
    "</role>": 156_897,
    "<|role_end|>": 156_900,
}
"""Those that have a meaning."""

PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
"""How text is cut before anything is merged, as the published models are said to do it."""


def byte_alphabet() -> list[str]:
    """The character that stands for each byte, as GPT-2 has it: itself if it can be seen, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = count(0x100)
    return [chr(byte if byte in seen else next(others)) for byte in range(256)]


class _Vocabulary:
    """Tokens, and the merges that make them, in the order of both."""

    def __init__(self) -> None:
        self.alphabet = byte_alphabet()
        # The seen ones come first, as in the vocabularies that `tokenizers` trains.
        self.ids = {character: place for place, character in enumerate(sorted(self.alphabet))}
        self.merges: list[tuple[str, str]] = []
        self._ranks: dict[tuple[str, str], int] = {}

    def spell(self, text: str) -> list[str]:
        """The characters that stand for the bytes of a text."""
        return [self.alphabet[byte] for byte in text.encode()]

    def merge(self, left: str, right: str) -> None:
        """Adds the token that two others make together, if it is new and there is room."""
        if left + right not in self.ids and len(self.ids) < BASE:
            self.ids[left + right] = len(self.ids)
            self._ranks[left, right] = len(self.merges)
            self.merges.append((left, right))

    def add(self, text: str) -> None:
        """Adds merges until the text is one token."""
        pieces = self.spell(text)
        while len(pieces) > 1:
            pairs = list(zip(pieces, pieces[1:]))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                self.merge(*best)
                if best not in self._ranks:
                    return
            place = pairs.index(best)
            pieces[place : place + 2] = ["".join(best)]


def _letters() -> Iterator[str]:
    """Letters and signs of other scripts: two to four bytes of UTF-8 each."""
    for first, last in (
        (0xA1, 0x5FF),  # Latin, Greek, Cyrillic, Hebrew
        (0x600, 0x6FF),  # Arabic
        (0x904, 0x97F),  # Devanagari
        (0xE01, 0xE5B),  # Thai
        (0x2010, 0x22FF),  # punctuation, currencies, arrows, mathematics
        (0x3000, 0x30FF),  # kana
        (0x4E00, 0x9FFF),  # Chinese characters
        (0xAC00, 0xD7A3),  # Korean syllables
        (0xFF01, 0xFF5E),  # wide forms
        (0x1F300, 0x1F6FF),  # pictures
    ):
        yield from map(chr, range(first, last + 1))


def _compounds(words: list[str], endings: list[str]) -> Iterator[tuple[str, str]]:
    """Two words, or a word and an ending; those of frequent words first."""
    parts = [*endings, *words]
    for total in range(2 * len(parts)):
        for left in range(max(0, total - len(parts) + 1), min(total + 1, len(words))):
            yield " " + words[left], parts[total - left]
            yield words[left], parts[total - left]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The ids of all BASE tokens, in the byte alphabet, and the merges in their order."""
    made = _Vocabulary()
    words, endings = list(dict.fromkeys(WORDS.split())), list(dict.fromkeys(ENDINGS.split()))
    signs = ["\n\n", *(" " * n for n in (2, 4, 8, 16)), "==", "--", "//", "()"]
    for text in (*(" " + letter for letter in ascii_letters), *PAIRS.split(), *signs):
        made.add(text)
    for text in endings:
        made.add(text)
    for word in words:
        for text in (" " + word, word, " " + word.capitalize(), word.capitalize()):
            made.add(text)
    for letter in _letters():
        made.add(letter)
    for left, right in _compounds(words, endings):
        made.merge("".join(made.spell(left)), "".join(made.spell(right)))
        if len(made.ids) == BASE:
            return made.ids, made.merges
    raise AssertionError(f"only {len(made.ids)} tokens")


def special_tokens() -> dict[int, str]:
    """All ADDED special tokens by their ids; those without a meaning are placeholders."""
    named = {number: name for name, number in SPECIAL.items()}
    return {number: named.get(number, f"<|reserved_{number - BASE}|>") for number in range(BASE, BASE + ADDED)}


def tokenizer_json() -> str:
    """tokenizer.json, laid out as `tokenizers` writes it."""
    ids, merges = vocabulary()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **flags} for number, name in special_tokens().items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]},
        "post_processor": {**byte_level, "use_regex": True},
        "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {},
            "merges": [],
        },
    }
    # With an indent, json.dumps takes seconds for lists as long as these two.
    text = json.dumps(document, ensure_ascii=False, indent=2)
    vocab = ",\n".join(f"      {json.dumps(token, ensure_ascii=False)}: {number}" for token, number in ids.items())
    lines = ",\n".join(f"      {json.dumps(' '.join(merge), ensure_ascii=False)}" for merge in merges)
    text = text.replace('"vocab": {}', '"vocab": {\n' + vocab + "\n    }")
    return text.replace('"merges": []', '"merges": [\n' + lines + "\n    ]")


def tokenizer_config() -> dict[str, Any]:
    """tokenizer_config.json, as a dict."""
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<|startoftext|>",
        "chat_template": (files("llada") / "chat_template.jinja").read_text(encoding="utf-8"),
        "clean_up_tokenization_spaces": False,
        "cls_token": "[CLS]",
        "eos_token": "<|endoftext|>",
        "gmask_token": "[gMASK]",
        "mask_token": "<|mask|>",
        "model_max_length": 1_000_000_000_000_000_019_884_624_838_656,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
