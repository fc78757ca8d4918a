"""The package around the library: how it is found, that it is silent, and that its README works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import llada
from conftest import CONFORMANCE, ROOT

PACKAGE = ROOT / "bindings" / "python" / "llada"


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_finding_the_library(tmp_path):
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    shutil.copytree(PACKAGE, tmp_path / "llada", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    environment = {"LLADA_LIBRARY": ""}
    lost = python(path + "import llada", **environment)
    assert lost.returncode == 1 and "ImportError" in lost.stderr and "LLADA_LIBRARY" in lost.stderr
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "llada.h").touch()
    unbuilt = python(path + "import llada", **environment)
    assert "ImportError" in unbuilt.stderr and "swift build -c release --product llada" in unbuilt.stderr
    wrong = python(path + "import llada", LLADA_LIBRARY=str(tmp_path / "nothing.so"))
    assert "ImportError" in wrong.stderr and "nothing.so" in wrong.stderr
    other = python(path + "import llada", LLADA_LIBRARY=shutil.which("sh"))
    assert "ImportError" in other.stderr
    found = python(path + "import llada; print(llada.__version__)", LLADA_LIBRARY=llada._abi.lib._name)
    assert found.stdout.strip() == llada.__version__, found.stderr
    shutil.copyfile(llada._abi.lib._name, tmp_path / "llada" / "libllada.so")
    beside = python(path + "import llada; print(llada._abi.lib._name)", **environment)
    assert beside.stdout.strip() == str((tmp_path / "llada" / "libllada.so").resolve()), beside.stderr


def test_a_package_of_links(tmp_path):
    """As build systems lay one out: every file a link to where it is stored, the library beside the links."""
    stored = tmp_path / "store" / "llada"
    shutil.copytree(PACKAGE, stored, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    farm = tmp_path / "farm"
    for file in (file for file in stored.rglob("*") if file.is_file()):
        link = farm / "llada" / file.relative_to(stored)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    (farm / "llada" / "libllada.so").symlink_to(llada._abi.lib._name)
    code = f"import sys; sys.path.insert(0, {str(farm)!r}); import llada; print(llada._abi.lib._name)"
    found = python(code, LLADA_LIBRARY="")
    assert found.stdout.strip() == str(farm / "llada" / "libllada.so"), found.stderr


def test_nothing_is_printed():
    """A library is silent, from loading to the end of the process."""
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import llada\n"
        f"m = llada.Model.load({str(CONFORMANCE / 'gqa_group')!r}, mask_token_id=127, eos_token_id=126)\n"
        "m.generate([1, 2, 3], gen_length=16)\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_readme_works_when_pasted(capsys):
    text = (ROOT / "bindings" / "python" / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(snippets) >= 3
    for snippet in snippets:
        pasted, count = re.subn(r'"examples/models/', f'"{ROOT}/examples/models/', snippet)
        assert count == 1
        exec(pasted, {})
    assert capsys.readouterr().out
