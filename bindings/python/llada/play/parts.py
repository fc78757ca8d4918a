"""The files that the page consists of, and the page as one module, for notebooks."""

from __future__ import annotations

import re
from importlib.resources import files

# From the ground up: each imports from those before it alone.
MODULES = (
    "dom.js",
    "canvas.js",
    "policy.js",
    "position.js",
    "branches.js",
    "keys.js",
    "commands.js",
    "steps.js",
    "edits.js",
    "frame.js",
    "app.js",
)


def part(name: str) -> str:
    """The text of one. Not a file where the package is in an archive."""
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def whole(last: str) -> str:
    """All modules and a last one as one module that imports nothing: no name is taken twice on their highest level."""
    parts = [part(name) for name in (*MODULES, last)]
    return "".join(re.sub(r'^import .*? from "\./.*?";$|^export (?!default)', "", each, flags=re.M) for each in parts)
