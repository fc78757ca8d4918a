"""stage.py FOLDER   What Sphinx reads: the repository's documents where they are, and pages for the references."""

import os
import shutil
import sys
from pathlib import Path

import header

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
FOLDERS = ("Sources", "Tests", "bindings", "docs", "examples", "include")

# The pages of the Python reference. A public name that is on none of them comes last.
PAGES = {
    "Models": (
        "Model",
        "GenerationOptions",
        "AnswerOptions",
        "Policy",
        "Generation",
        "Tokenizer",
        "TextStream",
        "StreamText",
        "ModelInfo",
        "build_info",
    ),
    "Decoders": (
        *("Decoder", "Rows", "Step", "Edit", "Event", "Candidate", "Candidates", "State", "Rule", "Routing"),
        "STOP",
    ),
    "Many": ("PrefixCache", "CacheInfo", "step_many", "forward_many"),
    "Traces": ("Trace",),
    "Scoring": ("Noised", "Scores", "score_many", "Elbo", "Choice", "Rollouts", "log_likelihoods", "ebpo", "Ebpo"),
    "Objectives": ("cap_loss", "CapLoss", "m2t_t2t_losses", "EditingLosses", "dpo_margins", "Dpo"),
}

# Classes that a user calls; others come out of functions.
MADE_BY_HAND = ("Noised",)

SWIFT = """The Swift package
=================

The engine is a package product, ``LLaDA``.

.. raw:: html

   <p>DocC makes <a href="../swift/documentation/llada/">its reference</a>, which wants a web server:
   <code>python3 -m http.server -d .build/docs</code> is one.</p>
"""


def write_python_pages(folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "bindings/python"))
    import llada

    pages = {title: [name for name in names if name in llada.__all__] for title, names in PAGES.items()}
    pages["Errors"] = [name for name in llada.__all__ if name.endswith(("Error", "Cancelled", "Stopped"))]
    placed = {name for names in pages.values() for name in names}
    pages["Others"] = [name for name in llada.__all__ if name not in placed]
    pages = {title: names for title, names in pages.items() if names}
    for title, names in pages.items():
        text = [title, "=" * len(title), ""]
        for name in names:
            thing = getattr(llada, name)
            if not isinstance(thing, type):
                text += [f".. auto{'function' if callable(thing) else 'data'}:: llada.{name}", ""]
            else:
                text += [f".. autoclass:: llada.{name}", "   :members:"]
                text += [] if name in MADE_BY_HAND else ["   :exclude-members: __init__"]
                text += [""]
        (folder / f"{title.lower()}.rst").write_text("\n".join(text), encoding="utf-8")
    title = "The Python package"
    index = [
        title,
        "=" * len(title),
        "",
        "What it is for is on :doc:`/bindings/python/README`.",
        "",
        ".. toctree::",
        "",
    ]
    index += [f"   {title.lower()}" for title in pages]
    (folder / "index.rst").write_text("\n".join(index) + "\n", encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    # Links of files: links of folders would lead Sphinx out of its own.
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, copy_function=os.link, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        os.link(ROOT / name, folder / name)
    for language in ("c", "python"):
        (folder / "reference" / language).mkdir(parents=True)
    header.write_pages(ROOT / "include/llada.h", folder / "reference/c", folder)
    write_python_pages(folder / "reference/python")
    (folder / "reference/swift.rst").write_text(SWIFT, encoding="utf-8")


if __name__ == "__main__":
    main()
