"""llada: block-diffusion language models (LLaDA2.x) in your program.

    import llada
    with llada.Model.load("path/to/checkpoint") as model:
        print(model.generate("What is 17 plus 25?").text)

Model opens a checkpoint; Decoder denoises a canvas step by step, to be watched and steered; Policy says how. PrefixCache
lets decoders share what they have computed; step_many steps several as one.
"""

from ._abi import lib as _lib
from .cache import CacheInfo, PrefixCache
from .decoder import Decoder
from .errors import (
    BusyError, Cancelled, CheckpointError, ClosedError, Error, FileError, FileMissingError, InvalidArgumentError,
    OutOfMemoryError, SnapshotError, SpecialTokenError, StateError, Stopped, TokenizerError, UnsupportedError,
)
from .inside import Routing
from .many import forward_many, step_many
from .model import Model, ModelInfo
from .policy import Policy
from .records import Candidate, Edit, Event, Generation, Rule, State, Step
from .text import Tokenizer
from .trace import Trace, TraceError
from .window import Candidates, Window

__version__: str = _lib.llada_version_string().decode()


def build_info() -> str:
    """One line: the version, and the kernels that this CPU gets."""
    return _lib.llada_build_info().decode()


__all__ = [
    "BusyError", "CacheInfo", "Cancelled", "Candidate", "Candidates", "CheckpointError", "ClosedError", "Decoder",
    "Edit", "Error", "Event", "FileError", "FileMissingError", "Generation", "InvalidArgumentError", "Model",
    "ModelInfo", "OutOfMemoryError", "Policy", "PrefixCache", "Routing", "Rule", "SnapshotError", "SpecialTokenError",
    "State", "StateError", "Step", "Stopped", "Tokenizer", "TokenizerError", "Trace", "TraceError",
    "UnsupportedError", "Window", "build_info", "forward_many", "step_many",
]
