"""One model over several processes, of one or of many machines, which talk by MPI."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from ctypes import byref, c_double, c_void_p, sizeof
from pathlib import Path as FilePath
from typing import NamedTuple

from . import _abi
from ._convert import Path, file_name, integer
from ._handle import Handle, Held
from .errors import call


class ClusterInfo(NamedTuple):
    """What a rank has sent and received: `Cluster.info`.

    Attributes:
        rank: Which of the processes this is, from 0.
        size: How many there are.
        bytes_sent: To other ranks, since this one joined.
        bytes_received: From other ranks.
        messages_sent: To other ranks.
        messages_received: From other ranks.
    """

    rank: int
    size: int
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int


class Cluster(Held):
    """Processes that compute one model together: the experts are spread over them.

    ::

        # mpiexec -n 1 python app.py : -n 3 python -m llada.worker path/to/checkpoint
        with llada.Cluster() as cluster, llada.Model.load("path/to/checkpoint", cluster=cluster) as model:
            print(model.generate("What is 17 plus 25?").text)

    Rank 0 opens the model, and all functions are there as ever, with the same results, bit for bit, on any number of
    ranks. The other ranks `serve`. The MPI library is found at run time, and has to have the standard ABI of MPI 5.0:
    `pip install mpich` brings one, with mpiexec.

    Args:
        timeout: Seconds after which a rank that does not answer counts as dead. A call that needs it raises
            ClusterError then, and names it; so does every later call, at once.
        initialise: Whether MPI is initialised, where the process has not done so (as mpi4py does), and finalised by
            `close`.
        library: The file of the MPI library. None: what the process has loaded, or what the environment variable
            LLADA_MPI_LIBRARY names, or that of the package `mpich`, or what the system's loader finds.
        communicator: The handle of the MPI_Comm whose processes are the cluster, as an integer (`comm.handle` in
            mpi4py). 0: MPI_COMM_WORLD.
        shares: On rank 0, what part of the experts each rank holds, in any unit; None: equal parts.

    Raises:
        UnsupportedError: There is no MPI library of this ABI.
        ClusterError: A rank does not answer, or has another version of this library.
    """

    _what = "cluster"

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        initialise: bool = True,
        communicator: int = 0,
        library: Path | None = None,
        shares: Sequence[float] | None = None,
    ) -> None:
        options = _abi.ClusterOptions()
        call(_abi.lib.llada_cluster_options_init, byref(options), sizeof(options))
        options.timeout_ms = integer(round(timeout * 1000), "timeout in milliseconds", 1, 86_400_000)
        options.initialise = bool(initialise)
        options.communicator = integer(communicator, "communicator", low=0, high=(1 << 64) - 1)
        named = file_name(library) if library is not None else _packaged()
        if named is not None:
            options.library = named
        if shares is not None:
            options.shares, options.share_count = (c_double * len(shares))(*shares), len(shares)
        pointer = c_void_p()
        call(_abi.lib.llada_cluster_create, byref(options), byref(pointer))
        self._handle: Handle | None = Handle(pointer, _abi.lib.llada_cluster_free)

    @property
    def info(self) -> ClusterInfo:
        """Which rank this is, and what it has sent and received so far."""
        info = _abi.ClusterInfo()
        call(_abi.lib.llada_cluster_get_info, self._live(), byref(info))
        return ClusterInfo(*(getattr(info, name) for name in ClusterInfo._fields))

    @property
    def rank(self) -> int:
        """Which of the processes this is, from 0."""
        return self.info.rank

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.info.size

    def serve(
        self,
        path: Path | None = None,
        *,
        threads: int | None = None,
        use_mmap: bool | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Computes the experts of this rank for rank 0, until that closes the cluster. Of no use on rank 0.

        Args:
            path: Where the model lies here; None: where it lies for rank 0.
            threads: As for `Model.load`.
            use_mmap: As for `Model.load`.
            memory_limit: As for `Model.load`.

        Raises:
            ClusterError: The cluster has failed.
        """
        options = _abi.ModelOptions()
        call(_abi.lib.llada_model_options_init, byref(options), sizeof(options))
        if threads is not None:
            options.threads = integer(threads, "threads", low=1)
        options.use_mmap = _abi.MMAP.index("auto" if use_mmap is None else "on" if use_mmap else "off")
        if memory_limit is not None:
            options.memory_limit = integer(memory_limit, "memory_limit", low=1, high=(1 << 63) - 1)
        here = None if path is None else file_name(path)
        call(_abi.lib.llada_cluster_serve, self._live(), here, byref(options))


def _packaged() -> bytes | None:
    """The library of the package `mpich`, unless another one is loaded, as mpi4py does, or named."""
    if "mpi4py.MPI" in sys.modules or os.environ.get("LLADA_MPI_LIBRARY"):
        return None
    found = FilePath(sys.prefix) / "lib" / "libmpi_abi.so.1"
    return os.fsencode(found) if found.is_file() else None
