"""What a decoder did, forward by forward: to be kept, looked at, drawn, and done again.

::

    with model.decoder("What is 17 plus 25?") as dec, dec.record("run.jsonl") as trace:
        dec.run()
    print(trace.replay(model) or "the same, bit for bit")

`python -m llada.trace --help` does it from a shell.
"""

from .jsonl import TraceError
from .replay import Difference
from .steps import Start, TraceResult, TraceStep
from .trace import Trace

__all__ = ["Difference", "Start", "Trace", "TraceError", "TraceResult", "TraceStep"]
