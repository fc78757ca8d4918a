"""Puts libllada.so into the wheel: builds it in the checkout this folder is part of, or takes LLADA_LIBRARY."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LibraryHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        library = self._library()
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
        if version != "editable":
            self._folder.cleanup()

    def _library(self) -> Path:
        named = os.environ.get("LLADA_LIBRARY")
        if named:
            if not Path(named).is_file():
                raise RuntimeError(f"LLADA_LIBRARY names {named!r}, and there is no such file")
            return Path(named).resolve()
        checkout = Path(self.root).resolve().parent.parent
        if not (checkout / "Package.swift").is_file():
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
        command = [swift, "build", "-c", "release", "--product", "llada", "--package-path", str(checkout)]
        subprocess.run(command, check=True)
        return checkout / ".build" / "release" / "libllada.so"


def _strip(library: Path) -> None:
    """Drops the local symbols, a third of the file. Without a tool for it the library is merely larger."""
    for command in (["strip", "-x"], ["llvm-objcopy", "-x"]):
        if shutil.which(command[0]) and subprocess.run([*command, str(library)], check=False).returncode == 0:
            return
