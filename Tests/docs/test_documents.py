"""Every code block of the READMEs and of docs/ does what it says: it is run, each in a process and a folder of its own.

A comment before a block says what else is to be done with it:

    <!-- not run: why -->    nothing but what can be checked without running: the syntax of Python and shell
    <!-- run -->             of a shell block, whose commands may take long: it is run all the same
    <!-- continues -->       a Python block goes on where the one before it ended

In a block's folder stand the repository's folders, so paths from its root work; what the block writes is thrown away.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RELEASE = ROOT / ".build/release"
LANGUAGES = ("c", "python", "swift", "sh")
MOST_BYTES_OF_README = 8192
MOST_SECONDS = 60


class Block:
    def __init__(self, path, line, language, code, mark, before):
        self.path, self.line, self.language, self.code, self.mark = path, line, language, code, mark
        self.before = before  # the block that this one continues

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def whole_code(self):
        """With line numbers as in the document, so that what fails is found there."""
        lines = self.before.whole_code.split("\n")[:-1] if self.before else []
        return "\n".join(lines + [""] * (self.line - len(lines)) + self.code) + "\n"


def documents():
    yield ROOT / "README.md"
    yield ROOT / "CONTRIBUTING.md"
    yield ROOT / "SECURITY.md"
    yield ROOT / "bindings/python/README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from sorted((ROOT / "examples").rglob("*.md"))


def blocks():
    for path in documents():
        before, mark, fence = {}, "", None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text = line.strip()
            if fence is not None:
                if text == "```":
                    indent = len(line) - len(line.lstrip())
                    language, start, code = fence
                    code = [part[indent:] for part in code]
                    block = Block(
                        path, start, language, code, mark, before.get(language) if mark == "continues" else None
                    )
                    assert mark != "continues" or block.before, f"{block} continues nothing"
                    before[language] = block
                    if language in LANGUAGES:
                        yield block
                    fence, mark = None, ""
                else:
                    fence[2].append(line)
            elif text.startswith("```"):
                fence = (text[3:].strip(), number, [])
            elif comment := re.fullmatch(r"<!-- (.*) -->", text):
                mark = comment[1]
            elif text:
                mark = ""


BLOCKS = list(blocks())


def of(*languages):
    return pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in languages], ids=str)


@pytest.fixture
def folder(tmp_path):
    for name in ("Sources", "Tests", "bindings", "docs", "examples", "include", ".build", "Makefile"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings/python"), "LD_LIBRARY_PATH": str(RELEASE)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@of("python")
def test_python(block, folder):
    compile(block.whole_code, str(block), "exec")
    if not block.mark.startswith("not run"):
        script = folder / "block.py"
        script.write_text(block.whole_code, encoding="utf-8")
        run([sys.executable, "-W", "error", str(script)], folder)


@of("c")
def test_c(block, folder):
    if block.mark.startswith("not run"):
        return
    source, program = folder / "block.c", folder / "block"
    source.write_text("\n".join(block.code) + "\n", encoding="utf-8")
    compiler = os.environ.get("CC", "cc").split()
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run([*compiler, *warnings, f"-I{ROOT}/include", str(source), "-o", str(program), f"-L{RELEASE}", "-lllada"], folder)
    assert run([str(program)], folder).strip(), "the program has printed nothing"


@of("swift")
def test_swift(block, folder):
    if block.mark.startswith("not run"):
        return
    # What a release build has linked: what was renamed stays in the folders, and is no part of it.
    linked = (RELEASE / "llada.product/Objects.LinkFileList").read_text(encoding="utf-8").splitlines()
    objects = [path.strip("'\"") for path in linked if re.search(r"/(?:LLaDA|Kernels)\.build/", path)]
    source, program = folder / "main.swift", folder / "block"
    source.write_text("\n".join(block.code) + "\n", encoding="utf-8")
    modules = [f"-I{RELEASE}/Modules", f"-I{ROOT}/Sources/Kernels/include", f"-I{ROOT}/include"]
    run([f"{os.environ.get('SWIFT', 'swift')}c", *modules, str(source), *objects, "-o", str(program)], folder)
    assert run([str(program)], folder).strip(), "the program has printed nothing"


@of("sh")
def test_shell(block, folder):
    script = folder / "block.sh"
    script.write_text("\n".join(block.code) + "\n", encoding="utf-8")
    run(["bash", "-n", str(script)], folder)
    if block.mark == "run":
        run(["bash", "-euo", "pipefail", str(script)], folder)


def test_marks_are_known():
    strange = [
        f"{block}: {block.mark}" for block in BLOCKS if not re.fullmatch(r"|run|continues|not run: .+", block.mark)
    ]
    assert not strange


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= MOST_BYTES_OF_README
