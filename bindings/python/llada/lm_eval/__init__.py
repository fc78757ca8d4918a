"""Benchmarks by lm-evaluation-harness (the extra `eval`): its command, with ``--model llada``.

::

    python -m llada.lm_eval --model llada --model_args path=path/to/checkpoint,policy=S,dtype=int4 \\
        --tasks gsm8k --apply_chat_template --output_path results

All arguments are those of ``lm_eval``. In a program of yours, ``import llada.lm_eval`` makes the model known to
``lm_eval.simple_evaluate(model="llada", model_args=...)``.

Answers come of continuous batches, and end with the first stop string. Log-likelihoods are the bounds of `Model.elbo`,
exact where no more than a token of a block is asked for. What came of how many forwards is under "config" of the
results.
"""

from .adapter import LLaDA

__all__ = ["LLaDA"]
