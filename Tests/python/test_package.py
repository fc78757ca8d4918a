"""The package around the library: how it is found, that it is silent, and that its README works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

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


def test_a_package_in_a_zip(tmp_path):
    """As zipapp and pex make one. The library is copied out of it, data are read from it."""
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as stored:
        for file in (file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix not in (".pyc", ".so")):
            stored.write(file, Path("llada") / file.relative_to(PACKAGE))
    code = f"import sys; sys.path.insert(0, {str(archive)!r}); import llada; assert 'app.zip' in llada.__file__; "
    lost = python(code, LLADA_LIBRARY="")
    assert lost.returncode == 1 and "also in a zip" in lost.stderr, lost.stderr
    with zipfile.ZipFile(archive, "a") as stored:
        stored.write(llada._abi.lib._name, "llada/libllada.so")
    use = """
from pathlib import Path
with llada.Model.load(sys.argv[1]) as model:
    answer = model.generate("What is 17 plus 25?", gen_length=16, record=True)
    answer.trace.html(Path(sys.argv[2]))
    print(repr(answer.text))
import llada.synthetic
assert not Path(llada._abi.lib._name).exists()
"""
    used = subprocess.run(
        [sys.executable, "-c", code + use, str(ROOT / "examples" / "models" / "tiny-2.1"), str(tmp_path / "page.html")],
        capture_output=True,
        text=True,
        env={**os.environ, "LLADA_LIBRARY": ""},
    )
    assert used.returncode == 0, used.stderr
    assert "<html" in (tmp_path / "page.html").read_text("utf-8")
    with llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1") as model:
        assert used.stdout.strip() == repr(model.generate("What is 17 plus 25?", gen_length=16).text)


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
