"""llada: block-diffusion language models (LLaDA2.x) in your program.

::

    import llada
    with llada.Model.load("path/to/checkpoint") as model:
        print(model.generate("What is 17 plus 25?").text)

Model opens a checkpoint; Decoder denoises a canvas step by step, to be watched and steered; Policy says how.
PrefixCache lets decoders share what they have computed; step_many steps several as one. Model.score, elbo, choose and
rollouts, and cap_loss, ebpo, dpo_margins ... say how likely tokens are, for evaluation and training.
"""

from ._abi import lib as _lib
from .cache import CacheInfo, PrefixCache
from .cluster import Cluster, ClusterInfo
from .decoder import Decoder, Rule
from .errors import (
    BusyError,
    Cancelled,
    CheckpointError,
    CheckpointWarning,
    ClosedError,
    ClusterError,
    Error,
    FileError,
    FileMissingError,
    InvalidArgumentError,
    NumericError,
    OutOfMemoryError,
    SnapshotError,
    SpecialTokenError,
    StateError,
    Stopped,
    TokenizerError,
    UnsupportedError,
)
from .generation import Generation
from .info import ModelInfo
from .inside import Routing
from .likelihood import Choice, Elbo
from .many import forward_many, step_many
from .model import Model
from .objectives import (
    CapLoss,
    Dpo,
    Ebpo,
    EditingLosses,
    cap_loss,
    dpo_margins,
    ebpo,
    log_likelihoods,
    m2t_t2t_losses,
)
from .options import AnswerOptions, GenerationOptions
from .policy import Policy, Refresh
from .records import Candidate, Candidates, Edit, Event, Rows, State, Step
from .rollouts import Rollouts
from .scoring import Noised, Scores, score_many
from .stopping import STOP
from .text import Tokenizer
from .text_stream import StreamText, TextStream
from .trace import Trace, TraceError

__version__: str = _lib.llada_version_string().decode()


def build_info() -> str:
    """One line: the version, and the kernels in use.

    They are the best that this CPU has, or those that `LLADA_KERNELS` in the environment names, with the same results:
    avx512, avxvnni, avx2, i8mm, neon or portable. If it names none that this CPU has, no model opens, and the error
    says which there are.
    """
    return str(_lib.llada_build_info().decode())


__all__ = [
    "STOP",
    "AnswerOptions",
    "BusyError",
    "CacheInfo",
    "Cancelled",
    "Candidate",
    "Candidates",
    "CapLoss",
    "CheckpointError",
    "CheckpointWarning",
    "Choice",
    "ClosedError",
    "Cluster",
    "ClusterError",
    "ClusterInfo",
    "Decoder",
    "Dpo",
    "Ebpo",
    "Edit",
    "EditingLosses",
    "Elbo",
    "Error",
    "Event",
    "FileError",
    "FileMissingError",
    "Generation",
    "GenerationOptions",
    "InvalidArgumentError",
    "Model",
    "ModelInfo",
    "Noised",
    "NumericError",
    "OutOfMemoryError",
    "Policy",
    "PrefixCache",
    "Refresh",
    "Rollouts",
    "Routing",
    "Rows",
    "Rule",
    "Scores",
    "SnapshotError",
    "SpecialTokenError",
    "State",
    "StateError",
    "Step",
    "Stopped",
    "StreamText",
    "TextStream",
    "Tokenizer",
    "TokenizerError",
    "Trace",
    "TraceError",
    "UnsupportedError",
    "build_info",
    "cap_loss",
    "dpo_margins",
    "ebpo",
    "forward_many",
    "log_likelihoods",
    "m2t_t2t_losses",
    "score_many",
    "step_many",
]
