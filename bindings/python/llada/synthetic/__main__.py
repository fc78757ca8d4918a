"""Writes a checkpoint of a published shape with made-up weights: to try what a machine does with one.

python -m llada.synthetic --shape mini OUT
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ..errors import Error
from ..progress import bar_for
from . import SHAPES, published_config, write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m llada.synthetic", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the folder to write: a new one, or an empty one")
    parser.add_argument("--shape", choices=SHAPES, default="mini", help="mini (16B, 33 GB) or flash (100B, 206 GB)")
    parser.add_argument("--layers", type=int, help="as many as the shape has")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    options = parser.parse_args(arguments)
    bar = bar_for(None, f"writing {options.out.name}")
    started = time.monotonic()
    try:
        config = published_config(options.shape, options.layers)
        written = write(options.out, config, options.seed, bar or (lambda fraction: None))
    except (Error, OSError, ValueError) as problem:
        print(f"llada.synthetic: {problem}", file=sys.stderr)
        return 1
    finally:
        if bar is not None:
            bar.wipe()
    layers, took = config["num_hidden_layers"], time.monotonic() - started
    print(
        f"{options.out}: {options.shape}, {layers} layer{'s' * (layers != 1)}, {written.tensors} tensors in"
        f" {written.shards} files, {written.byte_count / 1e9:.1f} GB, in {took:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
