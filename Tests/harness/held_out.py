"""Held-out questions as lm-evaluation-harness judges them: by the same functions as examples/evaluation/score.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "training"))

import tasks


def judged(document, answers):
    """process_results of a task."""
    question = tasks.Question(
        document["family"], document["question"], document["question"], document["worked"], document["final"]
    )
    final, strict = tasks.check(question, answers[0])
    return {"final": float(final), "strict": float(strict)}
