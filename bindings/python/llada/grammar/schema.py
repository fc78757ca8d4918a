"""JSON schemas as regular expressions of bounded depth, in the syntax of Rust's regex crate.

Whatever the expression matches is valid JSON and valid by the schema (JSON Schema, draft 2020-12; `definitions` and
tuples in `items` of earlier drafts as well). It does not match everything that is valid: properties come in the order
of the schema, and where some are named there are no others; recursion ends at a depth, free-form values are nested
twice, numbers have no exponent and at most 15 digits on each side, and there is at most one space, behind commas and
colons. What a regular expression cannot keep (`uniqueItems`, `not`, ...) is refused, not ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InvalidArgumentError, UnsupportedError
from .numerals import DIGITS, integers, numbers

MOST_CHARACTERS = 1 << 19
"""Of an expression."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANNOTATIONS = _names(
    "title description default example examples deprecated readOnly writeOnly $schema $id $comment $anchor $defs "
    "definitions format contentMediaType contentEncoding"
)
_BOUNDS = _names("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf")
_OF_TYPE = {
    "object": _names("properties required additionalProperties unevaluatedProperties minProperties maxProperties"),
    "array": _names("items prefixItems additionalItems minItems maxItems uniqueItems"),
    "string": _names("minLength maxLength"),
    "number": _BOUNDS,
    "integer": _BOUNDS,
    "boolean": _names(""),
    "null": _names(""),
}
_COMBINING = ("$ref", "allOf", "anyOf", "oneOf", "enum", "const")
_KNOWN = _ANNOTATIONS.union(*_OF_TYPE.values(), _COMBINING, ("type",))

_CHARACTER = r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))'
_STRING = f'"{_CHARACTER}*"'
_NUMBER = rf"-?(?:0|[1-9][0-9]{{0,{DIGITS - 1}}})(?:\.[0-9]{{1,{DIGITS}}})?"
_MONTH_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = rf"(?:19|20)[0-9]{{2}}-{_MONTH_DAY}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    "email": rf"[A-Za-z0-9](?:[A-Za-z0-9_+-]|\.[A-Za-z0-9_+-])*@{_LABEL}(?:\.{_LABEL})+",
}

_COMMA, _COLON = ", ?", ": ?"
_FREE_DEPTH = 2


def schema_regex(schema: Any, depth: int = 3) -> str:
    """A regular expression whose every match is valid by a JSON schema.

    Args:
        schema: A JSON schema: a dict, a bool, or its text. Supported: `type`, `enum`, `const`, `anyOf`, `oneOf` of
            branches that exclude each other, `allOf`, `$ref` within the schema; `properties`, `required`,
            `additionalProperties`; `items`, `prefixItems`, `minItems`, `maxItems`; `minLength`, `maxLength`, and of
            `format` date, time, date-time, uuid, ipv4 and email; bounds of integers, and whole bounds of numbers.
        depth: How often a definition may be within itself.

    Returns:
        The expression. It may be a part of a longer one.

    Raises:
        UnsupportedError: The schema says what no regular expression of ours keeps.
        InvalidArgumentError: It is no schema, nothing is valid by it, or its expression is too large.
    """
    if isinstance(schema, (str, bytes)):
        try:
            schema = json.loads(schema)
        except ValueError as problem:
            raise InvalidArgumentError(f"the schema is no JSON: {problem}") from None
    try:
        return f"(?:{_Writer(schema, depth).value(schema, '$', ())})"
    except _TooDeep as problem:
        raise InvalidArgumentError(f"schema at {problem.where}: nothing is valid within depth {depth}") from None
    except RecursionError:
        raise InvalidArgumentError("the schema is nested too deep, or refers to itself") from None


def literal(text: str) -> str:
    """A regular expression of one text."""
    return "".join("\\" + c if c in r"\.+*?()|[]{}^$#&-~" else c for c in text)


class _TooDeep(Exception):
    """Nothing is valid here within the depth."""

    def __init__(self, where: str) -> None:
        self.where = where


class _Writer:
    def __init__(self, root: Any, depth: int) -> None:
        self.root, self.depth = root, depth

    def value(self, schema: Any, where: str, stack: tuple[str, ...]) -> str:
        """`stack`: the references that led here."""
        made = self._value(schema, where, stack)
        if len(made) > MOST_CHARACTERS:
            raise InvalidArgumentError(
                f"schema at {where}: its regular expression has more than {MOST_CHARACTERS} characters; "
                "less depth, or shorter bounds, make it smaller"
            )
        return made

    def _value(self, schema: Any, where: str, stack: tuple[str, ...]) -> str:
        if schema is True:
            return self._free(_FREE_DEPTH)
        if schema is False:
            raise _TooDeep(where)
        if not isinstance(schema, Mapping):
            raise InvalidArgumentError(f"schema at {where} is {schema!r}; expected an object or a bool")
        for key in schema:
            if key not in _KNOWN:
                raise UnsupportedError(f"schema at {where}: {key!r} is not supported")
        if "$ref" in schema or "allOf" in schema:
            return self._merged(schema, where, stack)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._one_of(schema, several, where, stack)
        if "enum" in schema or "const" in schema:
            return self._listed(schema, where)
        kinds = _kinds(schema, where)
        made = []
        for kind in kinds:
            try:
                made.append(self._of_type(kind, schema, where, stack))
            except _TooDeep:
                if len(kinds) == 1:
                    raise
        if not made:
            raise _TooDeep(where)
        return _either(made)

    # -- Combining

    def _merged(self, schema: Mapping[str, Any], where: str, stack: tuple[str, ...]) -> str:
        """What is said here and by `$ref` or `allOf`, as one schema."""
        said = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts: list[tuple[Any, str]] = []
        if "$ref" in schema:
            name = schema["$ref"]
            if stack.count(name) > self.depth:
                raise _TooDeep(where)
            parts.append((self._referred(name, where), f"{where}.$ref"))
            stack = (*stack, name)
        several = _list(schema["allOf"], f"{where}.allOf") if "allOf" in schema else []
        parts += [(part, f"{where}.allOf[{index}]") for index, part in enumerate(several)]
        for part, place in parts:
            if part is True:
                continue
            if part is False:
                raise _TooDeep(place)
            if not isinstance(part, Mapping):
                raise InvalidArgumentError(f"schema at {place} is {part!r}; expected an object or a bool")
            for key, value in part.items():
                if key in _ANNOTATIONS and key != "format":
                    continue
                if key == "required" and key in said:
                    said[key] = [*said[key], *value]
                elif key == "properties" and key in said and not set(value) & set(said[key]):
                    said[key] = {**said[key], **value}
                elif key in said and said[key] != value:
                    raise UnsupportedError(f"schema at {place}: {key!r} is said twice, and differently")
                else:
                    said[key] = value
        return self.value(said, where, stack)

    def _referred(self, name: Any, where: str) -> Any:
        if not isinstance(name, str) or not (name == "#" or name.startswith("#/")):
            raise UnsupportedError(f"schema at {where}: $ref is {name!r}; expected one within the schema, '#/...'")
        found = self.root
        for part in name.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise InvalidArgumentError(f"schema at {where}: there is no {name}")
        return found

    def _one_of(self, schema: Mapping[str, Any], several: str, where: str, stack: tuple[str, ...]) -> str:
        said = {key: value for key, value in schema.items() if key != several and key not in _ANNOTATIONS}
        if said.keys() - {"type"}:
            raise UnsupportedError(f"schema at {where}: {sorted(said)} beside {several} are not supported")
        branches = _list(schema[several], f"{where}.{several}")
        made = []
        if several == "oneOf":
            for index, branch in enumerate(branches):
                for other in branches[:index]:
                    if not self._exclude(branch, other, f"{where}.oneOf"):
                        raise UnsupportedError(
                            f"schema at {where}.oneOf: branches that a value might be valid by both are not "
                            "supported; anyOf is"
                        )
        for index, branch in enumerate(branches):
            place = f"{where}.{several}[{index}]"
            if said:
                branch = {"allOf": [branch], **said}
            try:
                made.append(self.value(branch, place, stack))
            except _TooDeep:
                continue
        if not made:
            raise _TooDeep(where)
        return _either(made)

    def _exclude(self, a: Any, b: Any, where: str) -> bool:
        """Whether it is plain that nothing is valid by both."""
        a, b = self._resolved(a, where), self._resolved(b, where)
        values = [_values(each) for each in (a, b)]
        if values[0] is not None and values[1] is not None:
            return not any(_same(x, y) for x in values[0] for y in values[1])
        kinds = [
            {_kind_of(value) for value in known} if known is not None else set(_kinds(each, where))
            for each, known in zip((a, b), values)
        ]
        if any("number" in these for these in kinds):
            kinds = [these | ({"number"} if "integer" in these else set()) for these in kinds]
        if not kinds[0] & kinds[1]:
            return True
        if kinds[0] & kinds[1] != {"object"} or "properties" not in a or "properties" not in b:
            return False
        for name in set(a.get("required", ())) & set(b.get("required", ())):
            both = name in a["properties"] and name in b["properties"]
            if both and self._exclude(a["properties"][name], b["properties"][name], where):
                return True
        return False

    def _resolved(self, schema: Any, where: str) -> Mapping[str, Any]:
        seen = 0
        while isinstance(schema, Mapping) and "$ref" in schema and seen < 32:
            schema, seen = self._referred(schema["$ref"], where), seen + 1
        return schema if isinstance(schema, Mapping) else {}

    def _listed(self, schema: Mapping[str, Any], where: str) -> str:
        values = _values(schema)
        assert values is not None
        said = schema.keys() - _ANNOTATIONS - {"enum", "const", "type"}
        if said:
            raise UnsupportedError(f"schema at {where}: {sorted(said)} beside enum or const are not supported")
        if "type" in schema:
            kinds = _kinds(schema, where)
            values = [v for v in values if _kind_of(v) in kinds or (_kind_of(v) == "integer" and "number" in kinds)]
        if not values:
            raise _TooDeep(where)
        try:
            return _either([literal(json.dumps(value, ensure_ascii=False, allow_nan=False)) for value in values])
        except (TypeError, ValueError):
            raise InvalidArgumentError(f"schema at {where}: enum or const is no JSON") from None

    # -- Types

    def _of_type(self, kind: str, schema: Mapping[str, Any], where: str, stack: tuple[str, ...]) -> str:
        if kind == "object":
            return self._object(schema, where, stack)
        if kind == "array":
            return self._array(schema, where, stack)
        if kind == "string":
            return self._string(schema, where)
        if kind in ("integer", "number"):
            return self._number(kind, schema, where)
        return "true|false" if kind == "boolean" else "null"

    def _string(self, schema: Mapping[str, Any], where: str) -> str:
        low, high = _count(schema, "minLength", where, 0), _count(schema, "maxLength", where, None)
        known = _FORMATS.get(schema.get("format", ""))
        if known is not None:
            if low or high is not None:
                raise UnsupportedError(f"schema at {where}: a length beside format is not supported")
            return f'"(?:{known})"'
        assert low is not None
        return f'"{_CHARACTER}{_times(low, high, where)}"'

    def _number(self, kind: str, schema: Mapping[str, Any], where: str) -> str:
        if schema.get("multipleOf", 1) != 1 or ("multipleOf" in schema and kind == "number"):
            raise UnsupportedError(f"schema at {where}: multipleOf is not supported")
        low, above = _bound(schema, "minimum", "exclusiveMinimum", max, where)
        high, below = _bound(schema, "maximum", "exclusiveMaximum", min, where)
        if kind == "integer":
            # Bounds with a fraction are as good as the next integer within them.
            first = None if low is None else (int(low // 1) + 1 if above else int(-(-low // 1)))
            last = None if high is None else (int(-(-high // 1)) - 1 if below else int(high // 1))
            made = integers(first, last)
        elif low is None and high is None:
            made = _NUMBER
        elif any(bound is not None and bound != int(bound) for bound in (low, high)):
            raise UnsupportedError(f"schema at {where}: bounds of a number with a fraction are not supported")
        else:
            made = numbers(None if low is None else int(low), None if high is None else int(high), above, below)
        if made is None:
            raise _TooDeep(where)
        return made

    def _array(self, schema: Mapping[str, Any], where: str, stack: tuple[str, ...]) -> str:
        low, high = _count(schema, "minItems", where, 0), _count(schema, "maxItems", where, None)
        assert low is not None
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        if isinstance(rest, list):  # as it was before 2020-12
            first, rest = rest, schema.get("additionalItems", True)
        first = _list(first, f"{where}.prefixItems") if first != [] else []
        if high is not None and high < low:
            raise _TooDeep(where)
        if schema.get("uniqueItems", False) and (high is None or high > 1):
            raise UnsupportedError(f"schema at {where}: uniqueItems is not supported")
        parts = [self.value(part, f"{where}[{index}]", stack) for index, part in enumerate(first[:high])]
        room = None if high is None else high - len(parts)
        if rest is False or room == 0:
            if low > len(parts):
                raise _TooDeep(where)
            return r"\[" + _tuple(parts, low) + r"\]"
        try:
            item = f"(?:{self.value(rest, f'{where}.items', stack)})"
        except _TooDeep:
            if low > len(parts):
                raise
            return r"\[" + _tuple(parts, low) + r"\]"
        if parts:  # all of these, and then what there may be behind them
            some = f"(?:{_COMMA}{item}){_times(max(0, low - len(parts)), room, where)}"
            whole = _COMMA.join(f"(?:{part})" for part in parts) + some
            return r"\[" + (f"(?:{_tuple(parts, low)}|{whole})" if low < len(parts) else whole) + r"\]"
        some = f"{item}(?:{_COMMA}{item}){_times(max(0, low - 1), None if high is None else high - 1, where)}"
        return r"\[" + (some if low else f"(?:{some})?") + r"\]"

    def _object(self, schema: Mapping[str, Any], where: str, stack: tuple[str, ...]) -> str:
        properties = schema.get("properties", {})
        required = _list(schema.get("required", []) or [], f"{where}.required", empty=True)
        others = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        least, most = _count(schema, "minProperties", where, 0), _count(schema, "maxProperties", where, None)
        if not isinstance(properties, Mapping) or not all(isinstance(name, str) for name in required):
            raise InvalidArgumentError(f"schema at {where}: properties must be an object, required a list of names")
        assert least is not None
        # What is required is there, also if it is no property; what is merely allowed beside properties is not.
        known = {**properties, **{name: others for name in required if name not in properties}}
        if not known:
            if least > 0:
                raise UnsupportedError(f"schema at {where}: minProperties of names that are free is not supported")
            return self._map(others, most, where, stack)
        members: list[tuple[str, bool]] = []
        for name, part in known.items():
            try:
                made = self.value(part, f"{where}.{name}", stack)
            except _TooDeep:
                if name in required:
                    raise
                continue
            key = literal(json.dumps(name, ensure_ascii=False))
            members.append((f"{key}{_COLON}(?:{made})", name in required))
        if least > sum(must for _, must in members) or (most is not None and most < len(members)):
            raise UnsupportedError(f"schema at {where}: minProperties and maxProperties that bind are not supported")
        return r"\{" + _members(members) + r"\}"

    def _map(self, others: Any, most: int | None, where: str, stack: tuple[str, ...]) -> str:
        """Of names that are free."""
        if others is False or most == 0:
            return r"\{\}"
        try:
            made = self._free(_FREE_DEPTH - 1) if others is True else self.value(others, f"{where}.*", stack)
        except _TooDeep:
            return r"\{\}"
        member = f"{_STRING}{_COLON}(?:{made})"
        return (
            r"\{" + f"(?:{member}(?:{_COMMA}{member}){_times(0, None if most is None else most - 1, where)})?" + r"\}"
        )

    def _free(self, depth: int) -> str:
        """Any value, nested so deep."""
        scalar = f"{_STRING}|{_NUMBER}|true|false|null"
        if not depth:
            return scalar
        inner = f"(?:{self._free(depth - 1)})"
        member = f"{_STRING}{_COLON}{inner}"
        array = rf"\[(?:{inner}(?:{_COMMA}{inner})*)?\]"
        return scalar + "|" + array + "|" + rf"\{{(?:{member}(?:{_COMMA}{member})*)?\}}"


def _members(members: Sequence[tuple[str, bool]]) -> str:
    """Members of an object in their order, those that must be there and those that may."""
    made = []
    for index, (member, must) in enumerate(members):  # the first one that is there
        behind = "".join(f"{_COMMA}{m}" if need else f"(?:{_COMMA}{m})?" for m, need in members[index + 1 :])
        made.append(member + behind)
        if must:
            return _either(made)
    return f"(?:{'|'.join(made)})?" if made else ""


def _tuple(parts: Sequence[str], least: int) -> str:
    """The first `least` of them or more, in their order."""
    made = ""
    for index in range(len(parts) - 1, -1, -1):
        item = (_COMMA if index else "") + f"(?:{parts[index]})" + made
        made = item if index < least else f"(?:{item})?"
    return made


def _either(parts: Iterable[str]) -> str:
    unique = list(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else "(?:" + "|".join(unique) + ")"


def _times(low: int, high: int | None, where: str) -> str:
    if (low, high) == (0, None):
        return "*"
    if max(low, high or 0) > 1000:
        raise UnsupportedError(f"schema at {where}: lengths above 1000 are not supported")
    return f"{{{low},{'' if high is None else high}}}"


def _list(value: Any, where: str, empty: bool = False) -> list[Any]:
    if not isinstance(value, list) or not (value or empty):
        raise InvalidArgumentError(f"schema at {where} is {value!r}; expected a list")
    return value


def _count(schema: Mapping[str, Any], key: str, where: str, default: int | None) -> int | None:
    value = schema.get(key, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidArgumentError(f"schema at {where}: {key} is {value!r}; expected a whole number, 0 or more")
    return value


def _bound(schema: Mapping[str, Any], key: str, exclusive: str, tighter: Any, where: str) -> tuple[Any, bool]:
    """The bound, and whether it is left out itself."""
    given: list[tuple[Any, bool]] = []
    for name, out in ((key, False), (exclusive, True)):
        value = schema.get(name)
        if isinstance(value, bool) and out:  # as it was in draft 4
            given = [(value_before, value) for value_before, _ in given]
        elif value is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e15:
                raise InvalidArgumentError(f"schema at {where}: {name} is {value!r}; expected a number up to 1e15")
            given.append((value, out))
    if not given:
        return None, False
    limit = tighter(value for value, _ in given)
    return limit, any(out for value, out in given if value == limit)


def _kinds(schema: Mapping[str, Any], where: str) -> list[str]:
    """The types of a schema: those it names, else those that its keywords are about, else all."""
    named = schema.get("type")
    if named is None:
        about = [kind for kind, keys in _OF_TYPE.items() if keys & schema.keys() and kind != "integer"]
        if "format" in schema and schema["format"] in _FORMATS:
            about.append("string")
        # Numbers and the like are valid as well by a schema of properties alone; nobody means them.
        return list(dict.fromkeys(about)) or [kind for kind in _OF_TYPE if kind != "integer"]
    kinds = named if isinstance(named, list) else [named]
    for kind in kinds:
        if kind not in _OF_TYPE:
            raise InvalidArgumentError(f"schema at {where}: type is {kind!r}; expected one of {', '.join(_OF_TYPE)}")
    return kinds


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    """What `enum` and `const` list; None for neither."""
    if "const" in schema:
        listed = schema.get("enum", [schema["const"]])
        return [value for value in listed if _same(value, schema["const"])] if isinstance(listed, list) else []
    if "enum" in schema:
        return schema["enum"] if isinstance(schema["enum"], list) else []
    return None


def _same(a: Any, b: Any) -> bool:
    """As JSON: true is not 1."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True) or (
        not isinstance(a, bool) and not isinstance(b, bool) and isinstance(a, (int, float)) and a == b
    )


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    for kind, python in (("integer", int), ("number", float), ("string", str), ("array", list)):
        if isinstance(value, python):
            return kind
    return "object"
