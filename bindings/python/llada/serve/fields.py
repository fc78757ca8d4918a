"""The fields of a JSON object that somebody sent, each taken with its type and range, and none left over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from .refusal import Refusal


def parsed(body: bytes) -> Fields:
    """The object that a request's body is. Raises Refusal if it is none."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise Refusal(f"the body is no JSON: {problem}") from None
    if not isinstance(value, dict):
        raise Refusal("the body must be a JSON object")
    return Fields(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class Fields:
    """What is asked for is taken out, so that `end` can say what nobody knows. A null is a field that is not there."""

    def __init__(self, values: Mapping[str, Any], within: str = "") -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self._within = within

    @property
    def names(self) -> list[str]:
        """Of what is left."""
        return list(self._values)

    def peek(self, name: str) -> Any:
        """As it is, to be taken later."""
        return self._values.get(name)

    def any(self, name: str) -> Any:
        """As it is; None if it is not there."""
        return self._values.pop(name, None)

    def text(self, name: str) -> str | None:
        """A string."""
        value: str | None = self._take(name, str, "a string")
        return value

    def flag(self, name: str) -> bool:
        """A boolean; False if it is not there."""
        return bool(self._take(name, bool, "true or false"))

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number in a range."""
        value = self.any(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.refuse(name, f"must be a whole number, not {_shown(value)}")
        self._check_range(name, value, low, high)
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number in a range."""
        value = self.any(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            self.refuse(name, f"must be a number, not {_shown(value)}")
        self._check_range(name, value, low, high)
        return value

    def array(self, name: str) -> list[Any] | None:
        """An array."""
        value: list[Any] | None = self._take(name, list, "an array")
        return value

    def object(self, name: str) -> Fields:
        """An object; an empty one if it is not there."""
        value = self._take(name, dict, "an object")
        return Fields(value or {}, f"{self._within}{name}.")

    def ignore(self, *names: str) -> None:
        """Fields that have no bearing on an answer of ours."""
        for name in names:
            self._values.pop(name, None)

    def only(self, name: str, allowed: Iterable[Any], why: str) -> None:
        """A field that may say nothing but what is done anyway."""
        value = self.any(name)
        if value is not None and value not in allowed:
            self.refuse(name, f"is {_shown(value)}; {why}")

    def end(self) -> None:
        """Refuses what is left over."""
        for name in self._values:
            self.refuse(name, "is not known here", "unknown_parameter")

    def refuse(self, name: str, why: str, code: str | None = None) -> NoReturn:
        """Raises the Refusal of a field."""
        raise Refusal(f"'{self._within}{name}' {why}", param=self._within + name, code=code)

    def _take(self, name: str, kind: type, what: str) -> Any:
        value = self.any(name)
        if value is not None and not isinstance(value, kind):
            self.refuse(name, f"must be {what}, not {_shown(value)}")
        return value

    def _check_range(self, name: str, value: Any, low: float, high: float) -> None:
        if value is not None and not low <= value <= high:
            self.refuse(name, f"is {_shown(value)}; expected {low} to {high}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
