"""A program that has MPI by itself, and two clusters of its processes: `host.py FOLDER FUNNELED|MULTIPLE`.

It speaks MPI by its standard ABI."""

import ctypes
import json
import os
import sys
import threading
from pathlib import Path

from program import answers

import llada
from conftest import runs

folder, level = sys.argv[1:]
found = os.environ.get("LLADA_MPI_LIBRARY") or str(Path(sys.prefix) / "lib" / "libmpi_abi.so.1")
mpi = ctypes.CDLL(found)
WORLD = ctypes.c_void_p(0x101)
provided, rank, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
mpi.MPI_Init_thread(None, None, {"FUNNELED": 1024, "MULTIPLE": 4096}[level], ctypes.byref(provided))
mpi.MPI_Comm_rank(WORLD, ctypes.byref(rank))
half = ctypes.c_void_p()
mpi.MPI_Comm_split(WORLD, rank.value % 2, -rank.value, ctypes.byref(half))
with llada.Cluster(initialise=False, communicator=half.value, library=found, timeout=20) as cluster:
    if cluster.rank > 0:
        cluster.serve(threads=1)
    else:
        mpi.MPI_Comm_size(half, ctypes.byref(size))
        ids = {f"{kind}_token_id": runs("mini_like")[0][f"{kind}_id"] for kind in ("mask", "eos")}
        with llada.Model.load(folder, dtype="int8", threads=1, cluster=cluster, **ids) as model:
            result = answers(model, "mini_like") | {"size": size.value, "thread": ""}

            def ask() -> None:
                try:
                    model.logits([1, 2, 3])
                except llada.Error as problem:
                    result["thread"] = str(problem)

            other = threading.Thread(target=ask)
            other.start()
            other.join()
            # In one write: the ranks share a pipe.
            sys.stdout.write("FOUND " + json.dumps(result) + "\n")
            sys.stdout.flush()
# MPI is the program's, and goes on.
assert mpi.MPI_Barrier(WORLD) == 0
assert mpi.MPI_Comm_free(ctypes.byref(half)) == 0
assert mpi.MPI_Finalize() == 0
