"""Answers of a form that a request prescribes: by `response_format`, and by `tool_choice`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import grammar
from ..decoder import Rule
from ..errors import Error
from ..model import Model
from .answering import Order
from .fields import Fields
from .refusal import Refusal


class Tools(NamedTuple):
    """The functions that a model may call.

    Attributes:
        offered: As the prompt has them; None for none.
        calls: The regular expression of an answer that consists of calls; None where it need not.
    """

    offered: list[Any] | None = None
    calls: str | None = None


class Form(NamedTuple):
    """What an answer has to be.

    Attributes:
        rule: That keeps to it.
        field: Of the request, that prescribes it.
    """

    rule: Rule
    field: str


def tools_of(fields: Fields) -> Tools:
    """Takes `tools`, `tool_choice` and `parallel_tool_calls`. Raises Refusal."""
    tools, choice = fields.array("tools") or None, fields.any("tool_choice")
    is_several = fields.any("parallel_tool_calls")
    if is_several is not None and not isinstance(is_several, bool):
        fields.refuse("parallel_tool_calls", "must be true or false")
    if choice == "none":
        return Tools()
    if choice in (None, "auto"):
        if tools and is_several is False:
            fields.refuse("parallel_tool_calls", 'must be true with "auto": the model calls as many as it likes')
        return Tools(tools)
    name = None if choice == "required" else _chosen(fields, choice)
    if not tools:
        fields.refuse("tool_choice", "needs tools")
    functions = _functions(tools)
    if name is None:
        return Tools(tools, _calls(functions, is_several is not False))
    if name not in functions:
        fields.refuse("tool_choice", f"is {name!r}, and tools has {', '.join(map(repr, functions))}")
    return Tools(tools, _calls({name: functions[name]}, False))


def _chosen(fields: Fields, choice: Any) -> str:
    """The name in {"type": "function", "function": {"name": ...}}."""
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        fields.refuse("tool_choice", 'must be "auto", "none", "required", or a function of the tools')
    return name


def _functions(tools: list[Any]) -> dict[str, Mapping[str, Any]]:
    """Names and parameters."""
    return dict(_function(tool, place) for place, tool in enumerate(tools))


def _function(tool: Any, place: int) -> tuple[str, Mapping[str, Any]]:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        said = 'must be {"type": "function", "function": {"name": ..., "parameters": ...}}'
        raise Refusal(f"'tools[{place}]' {said}", param=f"tools[{place}]")
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, dict) or parameters.get("type", "object") != "object":
        said = "must be a JSON schema of an object"
        raise Refusal(f"the parameters of 'tools[{place}]' {said}", param=f"tools[{place}]")
    return function["name"], parameters


def _calls(functions: Mapping[str, Mapping[str, Any]], is_several: bool) -> str:
    """A regular expression of a call, or of several, as the chat layout has them (spec: text.md, section 5.1)."""
    inside = "|".join(_call(name, parameters) for name, parameters in functions.items())
    return rf"(?:\n?<tool_call>\n(?:{inside})\n</tool_call>)" + ("+" if is_several else "")


def _call(name: str, parameters: Mapping[str, Any]) -> str:
    schema = {**parameters, "type": "object"}
    if parameters.keys() <= {"type", "properties"} and not parameters.get("properties"):
        schema["additionalProperties"] = False  # a function without parameters
    try:
        arguments = grammar.schema_regex(schema)
    except (Error, TypeError, ValueError, RecursionError) as problem:
        raise Refusal(f"function {name!r}: {problem}", param="tools") from None
    named = grammar.literal(json.dumps(name, ensure_ascii=False))
    return rf'\{{"name": {named}, "arguments": {arguments}\}}'


def form_of(fields: Fields, tools: Tools) -> Form | None:
    """What keeps an answer to `tool_choice` and `response_format`, which is taken; None if any text will do. Raises
    Refusal. `response_format` is about content: it leaves a model free to call what it may, and says nothing about an
    answer that has to consist of calls."""
    expression = _response_format(fields)
    if tools.calls is not None:
        return Form(grammar.regex(tools.calls), "tool_choice")
    if expression is None:
        return None
    if tools.offered is not None:
        expression = f"{expression}|{_calls(_functions(tools.offered), True)}"
    return Form(grammar.regex(expression), "response_format")


def _response_format(fields: Fields) -> str | None:
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
        return grammar.schema_regex(schema)
    except (Error, TypeError, ValueError, RecursionError) as problem:
        raise Refusal(str(problem), param="response_format") from None


def check_form(model: Model, order: Order, form: Form) -> None:
    """Makes what a rule needs, which may take a second and is kept; and finds out whether an answer fits.

    Raises:
        Refusal: It does not; or this server cannot keep to any form.
    """
    try:
        model.decoder(order.prompt, order.policy, gen_length=order.max_tokens, rule=form.rule).close()
    except (Error, ValueError, ImportError) as problem:
        raise Refusal(str(problem), param=form.field) from None
