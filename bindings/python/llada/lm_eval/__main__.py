"""The command of lm-evaluation-harness, which knows ``--model llada``: ``python -m llada.lm_eval --help``."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

from . import LLaDA  # noqa: F401  # which makes it known

if __name__ == "__main__":
    cli_evaluate()
