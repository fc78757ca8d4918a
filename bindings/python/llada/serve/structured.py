"""Answers of a form that a request prescribes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..model import Model
from .fields import Fields


def rule_for(fields: Fields, model: Model) -> Any:
    """The decoding rule that keeps to `response_format`; None if any text will do. Raises Refusal."""
    form = fields.object("response_format")
    kind = form.text("type")
    if kind in (None, "text"):
        form.end()
        return None
    if kind not in ("json_object", "json_schema"):
        form.refuse("type", 'must be "text", "json_object" or "json_schema"')
    wanted = form.object("json_schema")
    schema = wanted.any("schema") if kind == "json_schema" else {"type": "object"}
    if not isinstance(schema, dict):
        wanted.refuse("schema", "must be a JSON schema, an object")
    wanted.ignore("name", "description", "strict")
    wanted.end()
    form.end()
    try:
        grammar = import_module("llada.grammar")
    except ImportError as problem:
        fields.refuse("response_format", f"needs another package on this server: {problem}", "unsupported")
    try:
        return grammar.json_schema(schema)
    except ValueError as problem:
        fields.refuse("response_format", f"cannot be kept to: {problem}")
