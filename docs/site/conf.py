"""The site of `make docs`: documents as they are in the repository, the header by hawkmoth, the package by autodoc."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bindings/python"))

header = (ROOT / "include/llada.h").read_text(encoding="utf-8")
project = "llada"
author = "the authors of llada"
release = ".".join(re.search(rf"LLADA_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "hawkmoth"]
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/spec/*.md",
    "docs/decisions/*.md",
    "examples/models/README.md",
    "examples/training/README.md",
    "examples/evaluation/peers/README.md",
    "examples/python/policies/README.md",
    "bindings/python/README.md",
    "reference/**",
]

myst_enable_extensions = ["smartquotes"]
myst_heading_anchors = 4

default_role = "code"
hawkmoth_root = os.environ["SITE_SOURCE"]
hawkmoth_clang = [f"-I{os.environ['SITE_SOURCE']}/reference/c", "-std=c99"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
c_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"llada {release}"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False

SIDEBAR = """

```{toctree}
:hidden:
:caption: To use it
docs/stepping
docs/playground
docs/traces
docs/many
docs/scoring
docs/structured
docs/benchmarks
docs/checkpoints
docs/gguf
docs/precision
docs/performance
docs/fidelity
docs/testing
examples/evaluation/peers/README
examples/python/policies/README
examples/models/README
```

```{toctree}
:hidden:
:caption: References
reference/c/index
bindings/python/README
reference/python/index
reference/swift
```

```{toctree}
:hidden:
:caption: To change it
docs/README
docs/architecture
docs/spec/README
docs/decisions/README
examples/training/README
CONTRIBUTING
SECURITY
CHANGELOG
```
"""


def with_sidebar(app, name, text):
    """READMEs are documents of the repository and know nothing of the site: it gets its tables of contents here."""
    folder = Path(app.srcdir) / Path(name).parent
    if name == "README":
        text[0] += SIDEBAR
    elif name in ("docs/spec/README", "docs/decisions/README"):
        pages = sorted(path.stem for path in folder.glob("*.md") if path.name != "README.md")
        text[0] += "\n```{toctree}\n:hidden:\n" + "\n".join(pages) + "\n```\n"

    # A folder is no page.
    def link(match):
        there = folder / match[2].split("#")[0]
        return match[1] if there.is_dir() else match[0]

    text[0] = re.sub(r"(?<!!)\[([^\]\[]+)\]\(([^)\s:]+)\)", link, text[0])


def as_plain_text(app, what, name, thing, options, lines):
    """In docstrings a bar, or an underscore behind a word, means nothing but itself; between backticks all does."""
    mark = re.compile(r"`[^`]*`|(?<=[\w)])_(?=\W|$)|[|]")
    lines[:] = [mark.sub(lambda match: match[0] if "`" in match[0] else "\\" + match[0], line) for line in lines]
    if what in ("property", "attribute") and lines:
        lines[0] = lines[0].replace(":", "\N{RATIO}")  # what stands before a colon would be taken for a type


def without_aliases(app, what, name, thing, skip, options):
    """The fields of a NamedTuple are told by its docstring."""
    return True if str(getattr(thing, "__doc__", "")).startswith("Alias for field") else None


def setup(app):
    app.connect("source-read", with_sidebar)
    app.connect("autodoc-process-docstring", as_plain_text, priority=400)
    app.connect("autodoc-skip-member", without_aliases)
