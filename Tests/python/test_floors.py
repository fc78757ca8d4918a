"""Which way is up in the package: a file imports only what stands before it in the README's table, types included."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "bindings" / "python" / "llada"


def files(package: Path) -> dict[str, Path]:
    """name -> file: "trace/steps" """
    return {path.relative_to(package).with_suffix("").as_posix(): path for path in sorted(package.rglob("*.py"))}


def declared() -> list[str]:
    """The files in the order of the README's table."""
    table = (PACKAGE.parent / "README.md").read_text().partition("## The files, from the ground up")[2]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.M)
    return [name for row in rows for name in re.findall(r"`([\w/]+)`", row)]


def imported(name: str, package: Path) -> set[str]:
    """The files of the package that one imports, in whatever block: TYPE_CHECKING's and functions' too."""
    known, found = files(package), set()

    def add(module: str, attribute: str | None = None) -> None:
        for candidate in (f"{module}/{attribute}", f"{module}/{attribute}/__init__", module, f"{module}/__init__"):
            if candidate.strip("/") in known:
                found.add(candidate.strip("/"))
                return
        raise AssertionError(f"{name} imports {attribute} of {module}: no file of the package")

    for node in ast.walk(ast.parse(known[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            absolute = (node.module or "").split(".")
            if node.level:
                parts = [*name.split("/")[: -node.level], *(absolute if node.module else [])]
            elif absolute[0] == package.name:
                parts = absolute[1:]
            else:
                continue
            for alias in node.names:
                add("/".join(parts), alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == package.name:
                    add("/".join(alias.name.split(".")[1:]))
    return found - {name}


def arrows_up(order: list[str], package: Path) -> list[str]:
    place = {name: index for index, name in enumerate(order)}
    return [
        f"{name} imports {other}, which stands behind it"
        for name in order
        for other in sorted(imported(name, package))
        if place[other] > place[name]
    ]


def test_every_file_stands_in_the_table_once():
    assert sorted(declared()) == sorted(files(PACKAGE))


def test_no_file_imports_one_that_stands_behind_it():
    assert arrows_up(declared(), PACKAGE) == []


@pytest.mark.parametrize(
    "code",
    [
        "from .b import B",
        "from . import b",
        "import llada.b",
        "from llada import b",
        "from llada.b import B",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B",
        "def late():\n    from .b import B",
        "from .inner.c import C",
        "from .inner import c",
        "from . import inner",
    ],
)
def test_an_arrow_that_turns_back_is_seen(code, tmp_path):
    package = tmp_path / "llada"
    (package / "inner").mkdir(parents=True)
    for name in ("a", "b", "inner/__init__", "inner/c"):
        (package / f"{name}.py").write_text("")
    order = ["a", "b", "inner/c", "inner/__init__"]
    (package / "b.py").write_text("from .a import A")
    (package / "inner" / "c.py").write_text("from ..b import B\nfrom .. import a\nimport os, ctypes.util")
    assert arrows_up(order, package) == []
    (package / "a.py").write_text(code)
    assert len(arrows_up(order, package)) == 1
