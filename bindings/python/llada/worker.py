"""Serves the experts of one rank of a cluster: `mpiexec -n 1 python app.py : -n 3 python -m llada.worker MODEL`."""

from __future__ import annotations

import argparse
import sys

from .cluster import Cluster
from .errors import Error


def main(arguments: list[str] | None = None) -> int:
    """Runs the worker.

    Args:
        arguments: Those of the command line, if None.

    Returns:
        0 once rank 0 has closed the cluster, 1 after an error.
    """
    parser = argparse.ArgumentParser(prog="python -m llada.worker", description=__doc__)
    parser.add_argument("model", nargs="?", help="where the model lies here; else, where it lies for rank 0")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--use-mmap", action="store_true", help="use the experts of a packed model in their file")
    parser.add_argument("--memory-limit", type=int, metavar="BYTES")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--mpi", metavar="FILE", help="the MPI library")
    given = parser.parse_args(arguments)
    try:
        with Cluster(timeout=given.timeout, library=given.mpi) as cluster:
            cluster.serve(
                given.model,
                threads=given.threads,
                use_mmap=given.use_mmap or None,
                memory_limit=given.memory_limit,
            )
    except Error as problem:
        print(f"llada.worker: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
