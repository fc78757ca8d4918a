"""Forty JSON schemas that no model here was trained for: what structured.py asks answers by."""

from __future__ import annotations

from typing import Any

TEXT, WHOLE, YES = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def of(required: str = "", /, **properties: Any) -> dict[str, Any]:
    """An object with no other properties; `required` names some, "*" all."""
    names = list(properties) if required == "*" else required.split()
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def several(items: Any, **bounds: int) -> dict[str, Any]:
    """An array."""
    return {"type": "array", "items": items, **bounds}


ADDRESS = of("street city", street=TEXT, number=WHOLE, city=TEXT, zip={"type": "string", "maxLength": 8})

SCHEMAS: dict[str, Any] = {
    # One value
    "text": TEXT,
    "short text": {"type": "string", "maxLength": 12},
    "some text": {"type": "string", "minLength": 3, "maxLength": 20},
    "whole": WHOLE,
    "percent": {"type": "integer", "minimum": 0, "maximum": 100},
    "below zero": {"type": "integer", "exclusiveMaximum": 0},
    "number": {"type": "number"},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
    "yes or no": YES,
    "nothing": {"type": "null"},
    "listed": {"enum": ["red", "green", 'a "blue" one', 4, None, [1, 2], {"x": True}]},
    "fixed": {"const": {"version": 2, "kind": "fixed"}},
    "date": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "address of a host": {"type": "string", "format": "ipv4"},
    "text or nothing": {"type": ["string", "null"]},
    # Arrays
    "texts": several(TEXT),
    "two to four wholes": several(WHOLE, minItems=2, maxItems=4),
    "pair": {"type": "array", "prefixItems": [TEXT, WHOLE], "items": False, "minItems": 2},
    "rows": several(several({"type": "number"}, maxItems=3), minItems=1, maxItems=3),
    "points": several(of("*", x=WHOLE, y=WHOLE), minItems=1, maxItems=4),
    # Objects
    "person": of("*", pet=TEXT, name=TEXT, age=WHOLE),
    "grown up": of("name age", name=TEXT, age={"type": "integer", "minimum": 18, "maximum": 120}, job=TEXT),
    "all optional": of(a=TEXT, b=WHOLE, c=YES, d={"type": "null"}),
    "book": of("*", title=TEXT, authors=several(TEXT, minItems=1), year=WHOLE, in_print=YES),
    "order": of("id items", id=WHOLE, items=several(of("*", sku=TEXT, count=WHOLE), minItems=1), note=TEXT),
    "weather": of("*", city=TEXT, sky={"enum": ["sun", "rain", "snow"]}, degrees={"type": "number"}),
    "step by step": of("*", steps=several(of("*", thought=TEXT, result=WHOLE), minItems=1, maxItems=3), answer=WHOLE),
    "nested": of("*", a=of("*", b=of("*", c=of("*", d=WHOLE)))),
    "address": of("*", name=TEXT, home=ADDRESS),
    "quoted keys": of("*", **{"a b": WHOLE, 'say "hi"': YES, "ünï": TEXT, "a\\b": WHOLE}),
    "map of wholes": {"type": "object", "additionalProperties": WHOLE, "maxProperties": 3},
    # Combined
    "either": {"anyOf": [TEXT, of("*", value=WHOLE)]},
    "one kind of two": {
        "oneOf": [
            of("*", kind={"const": "circle"}, radius={"type": "number"}),
            of("*", kind={"const": "square"}, side={"type": "number"}),
        ]
    },
    "both": {"allOf": [{"$ref": "#/$defs/named"}, {"properties": {"age": WHOLE}, "required": ["age"]}]}
    | {"$defs": {"named": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]}}},
    "list of lists": {
        "$defs": {"list": {"type": "array", "items": {"anyOf": [WHOLE, {"$ref": "#/$defs/list"}]}, "maxItems": 3}},
        "$ref": "#/$defs/list",
    },
    "tree": {
        "$defs": {"node": of("name", name=TEXT, children=several({"$ref": "#/$defs/node"}, maxItems=2))},
        "$ref": "#/$defs/node",
    },
    "anything": True,
    "any object": {"type": "object"},
}
