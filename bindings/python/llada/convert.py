"""Packs a checkpoint once and for all: what comes out opens in a moment, and gives the same results.

python -m llada.convert MODEL OUT --dtype int4
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from .commands.shell import exit_status
from .model import Model


def main(arguments: list[str] | None = None, prog: str = "python -m llada.convert") -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="the folder of a llada2_moe checkpoint, or a GGUF file")
    parser.add_argument("out", help="the folder to write: a new one, or an empty one")
    parser.add_argument(
        "--dtype", choices=["bf16", "int8", "int4", "auto"], default="int8", help="auto: a GGUF file's own blocks"
    )
    parser.add_argument("--threads", type=int, help="as many as the process may use")
    options = parser.parse_args(arguments)
    return exit_status(prog, lambda: convert(options))


def convert(options: argparse.Namespace) -> int:
    """Packs it, and says what came of it."""
    started = time.monotonic()
    with Model.load(options.model, dtype=options.dtype, threads=options.threads) as model:
        model.save(options.out)
        dtype = model.info.dtype
    packed, peak = time.monotonic(), peak_memory()
    # Opened once, so that what was written is known to be good.
    Model.load(options.out, threads=options.threads).close()
    opened = time.monotonic()
    size = sum(file.stat().st_size for file in Path(options.out).iterdir())
    print(
        f"{options.out}: {dtype}, {size / 1e6:.1f} MB, packed in {packed - started:.1f} s"
        f"{f' with {peak / 1e6:.0f} MB of memory at most' if peak else ''}; opens in {opened - packed:.1f} s"
    )
    return 0


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held, pages of mapped files included; None if it is unknown."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) << 10 if found else None


if __name__ == "__main__":
    sys.exit(main())
