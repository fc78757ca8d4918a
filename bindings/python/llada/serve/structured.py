"""Answers of a form that a request prescribes."""

from __future__ import annotations

from .. import grammar
from ..decoder import Rule
from ..errors import Error
from ..model import Model
from .answering import Order
from .fields import Fields
from .refusal import Refusal

_FIELD = "response_format"


def rule_for(fields: Fields) -> Rule | None:
    """The decoding rule that keeps to `response_format`; None if any text will do. Raises Refusal."""
    form = fields.object(_FIELD)
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
        rule: Rule = grammar.json_schema(schema)
    except (Error, TypeError, ValueError, RecursionError, ImportError) as problem:
        raise Refusal(str(problem), param=_FIELD) from None
    return rule


def check_rule(model: Model, order: Order) -> None:
    """Makes what a rule needs, which may take a second and is kept; and finds out whether an answer fits.

    Raises:
        Refusal: It does not; or this server cannot keep to any form.
    """
    try:
        model.decoder(order.prompt, order.policy, gen_length=order.max_tokens, rule=order.rule).close()
    except (Error, ValueError, ImportError) as problem:
        raise Refusal(str(problem), param=_FIELD) from None
