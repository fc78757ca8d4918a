"""The bytes of a model's tokens, as a tree of their beginnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._handle import Handle
from ..errors import UnsupportedError
from ..text import detokenize, tokenize

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Level(NamedTuple):
    """The beginnings of tokens that are of one length: a node for each, children of one parent one after another.

    Attributes:
        bytes: The last byte of each, np.uint8 [nodes].
        first_child: Where its children begin in the next level, np.int32 [nodes + 1].
        with_tokens: Nodes at which tokens end, np.int32 [n].
        first_token: Where these begin in `tokens`, np.int32 [n + 1].
        tokens: Ids, np.int32.
    """

    bytes: NDArray[np.uint8]
    first_child: NDArray[np.int32]
    with_tokens: NDArray[np.int32]
    first_token: NDArray[np.int32]
    tokens: NDArray[np.int32]


class Vocabulary:
    """The tokens that text consists of; control tokens, and ids that stand for nothing, are not among them.

    Attributes:
        size: Ids of the model.
        ends: The ids that end an answer.
        text_of: The bytes of each token.
        levels: The tree, the beginnings of one byte first.
    """

    def __init__(self, size: int, ends: tuple[int, ...], texts: Mapping[bytes, list[int]]) -> None:
        self.size, self.ends = size, ends
        self.text_of = {token: text for text, tokens in texts.items() for token in tokens}
        self.levels: list[Level] = []
        # In this order those that begin alike stand together: a text begins a new node of each length that is greater
        # than what it has in common with the one before.
        ordered = sorted(texts)
        lengths = np.array([len(text) for text in ordered], np.int64)
        common = np.zeros(len(ordered), np.int64)
        for index in range(1, len(ordered)):
            before, text = ordered[index - 1], ordered[index]
            while common[index] < len(before) and before[common[index]] == text[common[index]]:
                common[index] += 1
        above = np.zeros(len(ordered), np.int64)  # of each text, its node in the level before
        for length in range(1, int(lengths.max(initial=0)) + 1):
            new = (lengths >= length) & (common < length)
            node = np.cumsum(new) - 1
            parents = above[new]
            if self.levels:
                count = len(self.levels[-1].bytes)
                first = np.searchsorted(parents, np.arange(count + 1)).astype(np.int32)
                self.levels[-1] = self.levels[-1]._replace(first_child=first)
            ending = np.flatnonzero(lengths == length)
            tokens = [sorted(texts[ordered[index]]) for index in ending]
            self.levels.append(
                Level(
                    np.array([ordered[index][length - 1] for index in np.flatnonzero(new)], np.uint8),
                    np.zeros(int(new.sum()) + 1, np.int32),
                    node[ending].astype(np.int32),
                    np.cumsum([0, *map(len, tokens)]).astype(np.int32),
                    np.array([token for each in tokens for token in each], np.int32),
                )
            )
            above = node


def read_vocabulary(model: Handle, size: int, ends: tuple[int, ...]) -> Vocabulary:
    """Of a model that has a tokenizer, by what its tokenizer makes of each token."""
    known = _decoded(model, size, False)
    plain = _decoded(model, size, True)
    texts: dict[bytes, list[int]] = {}
    broken: list[int] = []
    for token, text in enumerate(known):
        if not text or not plain[token] or token in ends:
            continue  # a control token, or none
        if _BROKEN in text:
            broken.append(token)
        else:
            texts.setdefault(text.encode(), []).append(token)
    for token, content in _parts_of_characters(model, broken).items():
        texts.setdefault(content, []).append(token)
    return Vocabulary(size, ends, texts)


def _decoded(model: Handle, size: int, skip_control: bool) -> list[str]:
    """The text of each token alone. One call for all: a line of text comes between any two."""
    line = tokenize(model, "\n~|~\n", False)
    between = detokenize(model, line, False)
    every = np.empty((size, 1 + len(line)), np.int32)
    every[:, 0] = np.arange(size)
    every[:, 1:] = line
    texts = detokenize(model, every.reshape(-1), skip_control).split(between)[:-1]
    if len(texts) != size:
        raise UnsupportedError("the texts of the tokenizer's tokens cannot be told apart")
    return texts


def _parts_of_characters(model: Handle, tokens: list[int]) -> dict[int, bytes]:
    """The bytes of tokens that are no whole characters, which the tokenizer does not tell: found by what they make
    together with tokens of single bytes. Tokens whose bytes cannot be found are left out."""
    single = _single_bytes(model)
    # Bytes that make any end of a character whole, and any beginning.
    before: list[list[int]] = [[]] + [
        [single[byte] for byte in content]
        for content in (b"\xc3", b"\xe1", b"\xe1\x81", b"\xf1", b"\xf1\x81", b"\xf1\x81\x81")
        if all(byte in single for byte in content)
    ]
    after = [[single[0x81]] * count for count in range(4)] if 0x81 in single else [[]]
    found: dict[int, bytes] = {byte_token: bytes([byte]) for byte, byte_token in single.items()}
    for token in tokens:
        if token in found:
            continue
        for first in before:
            for last in after:
                text = detokenize(model, np.array([*first, token, *last], np.int32), False)
                if _BROKEN not in text:
                    content = text.encode()
                    found[token] = content[len(first) : len(content) - len(last)]
                    break
            if token in found:
                break
    return {token: content for token, content in found.items() if token in set(tokens) | set(single.values())}


def _single_bytes(model: Handle) -> dict[int, int]:
    """Tokens that are one byte from 0x80 on: those that characters fall apart into that are no tokens themselves."""
    single: dict[int, int] = {}
    # Every lead byte, with rare characters, and every byte that continues one.
    rare = [
        *range(0x80, 0x800, 0x40),
        *range(0xBC, 0x800, 0x40),
        *range(0x840, 0xD800, 0x1000),
        *range(0xE0B0, 0x10000, 0x1000),
    ]
    rare += [*range(0x800, 0x1000, 0x40), *range(0x1F000, 0x20000, 0x40), *range(0x10FF80, 0x10FFFE)]
    rare += [*range(0x10380, 0x110000, 0x10000), *range(0x40000, 0x110000, 0x11111)]
    for point in rare:
        content = chr(point).encode()
        tokens = tokenize(model, content, False)
        if len(tokens) == len(content):
            single.update(zip(content, tokens.tolist()))
    return single
