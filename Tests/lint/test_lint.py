"""A violation of each kind, planted in a tree of its own: `.ci/lint` must see it, and name the file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Check, file, what is wrong, what is right.
PLANTED = {
    "swift_layout": ("Sources/A.swift", "let  a=1\n", "let a = 1\n"),
    "c_layout": ("Sources/a.c", "int  a=1;\n", "int a = 1;\n"),
    "c_layout of templates": ("Sources/a.inc", "int  a=1;\n", "int a = 1;\n"),
    "python_layout": ("a.py", "a=1\n", "a = 1\n"),
    "python_mistakes": ("a.py", "import os\n", "import os\n\nprint(os.sep)\n"),
    "python_mistakes in long lines": ("a.py", f"# {'a ' * 59}a\n", f"# {'a ' * 58}a\n"),
    "python_types": ("bindings/python/llada/a.py", "def f(a):\n    pass\n", "def f(a: int) -> None:\n    pass\n"),
    "shell_scripts": ("a.sh", "#!/usr/bin/env bash\nrm $1\n", '#!/usr/bin/env bash\nrm "$1"\n'),
    "shell_scripts that are none": ("a.sh", "#!/usr/bin/env bash\nif true\n", "#!/usr/bin/env bash\ntrue\n"),
    "columns": ("Sources/A.swift", f"// {'—' * 120}\n", f"// {'—' * 117}\n"),
    "arrows": ("Sources/LLaDA/Runtime/A.swift", "func a(_ above: Decoder) {}\n", "// Decoder\nfunc a() {}\n"),
    "arrows to a room of the same floor": (
        "Sources/LLaDA/Text/A.swift",
        "let a: [Page?] = []\n",
        "let a: [JSON?] = []\n",
    ),
    "arrows from nowhere": ("Sources/LLaDA/Attic/A.swift", "let a = 1\n", ""),
    "links to a file": ("a.md", "[b](b.md)\n", "[b](docs/spec/b.md)\n"),
    "links to a heading": ("a.md", "[b](docs/spec/b.md#2-b)\n", "[b](docs/spec/b.md#1-b)\n"),
    "links of a source": ("Sources/A.swift", "// (spec: b.md, section 2)\n", "// (spec: b.md,\n// section 1)\n"),
    "links of a command": ("a.md", "```sh\ncat docs/b.md\n```\n", "```sh\ncat docs/spec/b.md\n```\n"),
    "links to a target": ("a.md", "```sh\nmake b\n```\n", "```sh\nmake a\n```\n"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The checks and their settings, and three rooms, documents and a Makefile that are as they should be."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in (".clang-format", ".mypy.ini", ".ruff.toml", ".shellcheckrc", ".swift-format"):
        shutil.copy(ROOT / name, tmp_path / name)
    for room, name in (("Checkpoint", "JSON"), ("KeyValues", "Page"), ("Decoder", "Decoder")):
        write(tmp_path, f"Sources/LLaDA/{room}/{name}.swift", f"struct {name} {{}}\n")
    write(tmp_path, "docs/spec/b.md", "# B\n## 1. B\n")
    write(tmp_path, "docs/architecture.md", "# What .ci/arrows.py cites\n")
    write(tmp_path, "docs/testing.md", "# What .ci/testing_figures.py cites\n")
    write(tmp_path, "Makefile", "a:\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def write(tree: Path, name: str, text: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text, encoding="utf-8")


def lint(tree: Path, *checks: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LINT_TOOLS": str(ROOT / ".build" / "lint-venv" / "bin")}
    return subprocess.run([tree / ".ci" / "lint", *checks], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_violation_is_seen(tree, kind):
    check = kind.split()[0]
    name, wrong, right = PLANTED[kind]
    write(tree, name, wrong)
    seen = lint(tree, check)
    assert seen.returncode == 1 and seen.stdout.endswith("\n0 passed, 1 failed\n"), seen.stdout
    assert Path(name).name in seen.stdout
    write(tree, name, right) if right else (tree / name).unlink()
    fine = lint(tree, check)
    assert fine.returncode == 0 and fine.stdout.endswith("\n1 passed, 0 failed\n"), fine.stdout


def test_one_violation_hides_no_other(tree):
    write(tree, "a.py", "a=1\n")
    write(tree, "a.sh", "#!/usr/bin/env bash\nrm $1\n")
    seen = lint(tree, "python_layout", "columns", "shell_scripts")
    assert seen.returncode == 1 and seen.stdout.endswith("\n1 passed, 2 failed\n"), seen.stdout


def test_every_check_has_a_violation():
    """Of the checks that a plain `lint` runs."""
    script = (ROOT / ".ci" / "lint").read_text()
    checks = script.split("checks=(", 1)[1].split(")", 1)[0].split()
    assert {kind.split()[0] for kind in PLANTED} == set(checks)
