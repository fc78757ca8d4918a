"""Structured answers: choices, regular expressions and JSON schemas as rules of a decoder (the extra `grammar`).

::

    import llada.grammar
    answer = model.generate(prompt, rule=llada.grammar.json_schema({"type": "object", "properties": ...}))
    json.loads(answer.text)

An answer is valid whenever it ends, with any policy: also while tokens are written in any order, replaced, inserted and
deleted, and over any number of blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import InvalidArgumentError
from .rule import Grammar
from .schema import literal, schema_regex

__all__ = ["Grammar", "choices", "json_schema", "literal", "regex", "schema_regex"]


def regex(expression: str) -> Grammar:
    """Answers that a regular expression matches as a whole.

    Args:
        expression: In the syntax of Rust's regex crate, without look-around. "." is any character but a line feed.

    Raises:
        TypeError: It is no str. What is no expression is refused when a decoder is made with it.
    """
    return Grammar(expression)


def choices(texts: Iterable[str]) -> Grammar:
    """Answers that are one of some texts.

    Args:
        texts: One or more.

    Raises:
        InvalidArgumentError: There is none, or one is empty.
    """
    several = [texts] if isinstance(texts, str) else list(texts)
    if isinstance(texts, str) or not all(isinstance(text, str) for text in several):
        raise TypeError(f"choices are several texts, not {texts!r}")
    if not several or not all(several):
        raise InvalidArgumentError("choices are one text or more, none of them empty")
    return Grammar("|".join(literal(text) for text in several))


def json_schema(schema: Any, depth: int = 3) -> Grammar:
    """Answers that are JSON, valid by a schema.

    Args:
        schema: As for `schema_regex`.
        depth: As for `schema_regex`.

    Raises:
        UnsupportedError, InvalidArgumentError: As `schema_regex`.
    """
    return Grammar(schema_regex(schema, depth))
