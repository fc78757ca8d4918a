"""The version, from llada.h; sources of the library into the sdist; and libllada.so into the wheel, built or given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
# In a checkout this folder is bindings/python; in an sdist the sources stand beside this file.
SOURCES = HERE if (HERE / "Package.swift").is_file() else HERE.parent.parent
# What `swift build` wants to see: the manifest, and a folder for each target that it names.
NEEDED = ("Package.swift", "LICENSE", "include", "Sources", "examples/swift", "Tests")


def version() -> str:
    header = (SOURCES / "include" / "llada.h").read_text(encoding="utf-8")
    numbers = [
        re.search(rf"^#define LLADA_VERSION_{part} (\d+)$", header, re.M) for part in ("MAJOR", "MINOR", "PATCH")
    ]
    return ".".join(number[1] for number in numbers if number)


class LibraryHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            build_data["force_include"].update(_sources())
            return
        library = _library()
        if version == "editable":
            return  # the package finds the checkout's library by itself
        self._folder = tempfile.TemporaryDirectory()
        copy = Path(self._folder.name) / "libllada.so"
        shutil.copyfile(library, copy)
        _strip(copy)
        build_data["force_include"][str(copy)] = "llada/libllada.so"
        build_data["pure_python"] = False
        # No Python ABI in it: ctypes only. The platform is all that matters.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name == "wheel" and version != "editable":
            self._folder.cleanup()


def _sources() -> dict[str, str]:
    """Paths of what the library is built from, and where they go. Of Tests the Swift ones, without fixtures."""
    paths: dict[str, str] = {}
    for name in NEEDED:
        place = SOURCES / name
        files = place.rglob("*.swift" if name == "Tests" else "*") if place.is_dir() else [place]
        paths.update((str(file), str(file.relative_to(SOURCES))) for file in files if file.is_file())
    return paths


def _library() -> Path:
    named = os.environ.get("LLADA_LIBRARY")
    if named:
        if not Path(named).is_file():
            raise RuntimeError(f"LLADA_LIBRARY names {named!r}, and there is no such file")
        return Path(named).resolve()
    if not (SOURCES / "Package.swift").is_file():
        raise RuntimeError(
            "libllada.so is built from the Swift sources, which are not around. Install from a checkout of llada "
            "(pip install ./bindings/python), or set LLADA_LIBRARY to the path of a built libllada.so."
        )
    swift = shutil.which("swift")
    if swift is None:
        raise RuntimeError(
            "building libllada.so needs Swift, and there is no `swift` in PATH: see https://www.swift.org/install, "
            "or set LLADA_LIBRARY to the path of a built libllada.so"
        )
    command = [swift, "build", "-c", "release", "--product", "llada", "--package-path", str(SOURCES)]
    subprocess.run(command, check=True)
    return SOURCES / ".build" / "release" / "libllada.so"


def _strip(library: Path) -> None:
    """Drops the names of what is inside, a third of the file. Without a tool for it the library is merely larger."""
    for command in ("strip", "llvm-strip"):
        if shutil.which(command) and subprocess.run([command, str(library)], check=False).returncode == 0:
            return
