"""What is public is documented, as IDEs and Sphinx read it: Google style, every argument by name."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

import llada


def public() -> dict[str, object]:
    """Everything a user can name: what the package exports, and its public members."""
    found = {}
    for name in llada.__all__:
        thing = getattr(llada, name)
        found[name] = thing
        if inspect.isclass(thing):
            for base in reversed(thing.__mro__):
                if base.__module__.startswith("llada"):
                    members = {member: value for member, value in vars(base).items() if not member.startswith("_")}
                    found.update({f"{name}.{member}": value for member, value in members.items()})
    return found


def section(text: str, title: str) -> set[str]:
    """The names that a section of a docstring explains."""
    lines = inspect.cleandoc(text).partition(f"\n{title}:\n")[2].split("\n\n")[0].splitlines()
    named = [re.match(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.sub(r",\s+", ", ", line)) for line in lines]
    joined = " ".join(line.strip() for line in lines)
    first = re.match(r"((?:\*{0,2}\w+, )+\*{0,2}\w+):", joined)  # a list of names that goes on in the next line
    groups = [match[1] for match in named if match] + ([first[1]] if first else [])
    return {each.lstrip("*") for group in groups for each in group.split(", ")}


PUBLIC = public()
FUNCTIONS = {
    name: getattr(thing, "__func__", thing)
    for name, thing in PUBLIC.items()
    if inspect.isfunction(thing) or isinstance(thing, (classmethod, staticmethod))
}


DOCUMENTED = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing) or isinstance(thing, property)}
DOCUMENTED.update(FUNCTIONS)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_everything_has_a_docstring(name):
    text = DOCUMENTED[name].__doc__ or ""
    assert len(text.strip()) > 10 and text.strip()[-1] in ".:`)]", name
    assert not re.match(r"\w+\(.*\)$", text), name  # what a NamedTuple writes by itself


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_explained(name):
    function = FUNCTIONS[name]
    parameters = set(inspect.signature(function).parameters) - {"self", "cls"}
    assert section(function.__doc__, "Args") == parameters, name


@pytest.mark.parametrize(
    "kind",
    [
        thing
        for thing in PUBLIC.values()
        if inspect.isclass(thing) and (dataclasses.is_dataclass(thing) or hasattr(thing, "_fields"))
    ],
)
def test_every_field_is_explained(kind):
    fields = kind._fields if hasattr(kind, "_fields") else [field.name for field in dataclasses.fields(kind)]
    assert section(kind.__doc__, "Attributes") == set(fields), kind
