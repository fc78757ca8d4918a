"""The model in examples/models is the output of training: it answers what it was not trained on."""

from __future__ import annotations

import json
import re

import pytest
from conftest import ROOT

import llada

FOLDER = ROOT / "examples" / "models" / "tiny-2.1"
QUESTIONS = [json.loads(line) for line in (FOLDER / "held_out.jsonl").read_text().splitlines()]


def solve(question: dict) -> str:
    """The right answer, from the question's own words and numbers."""
    text = question["question"].lower()
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if question["family"] == "addition":
        return str(sum(numbers))
    if question["family"] == "subtraction":
        return str(max(numbers) - min(numbers))
    if question["family"] == "sorting":
        down = any(word in text for word in ("descending", "backwards", "reverse"))
        return ", ".join(map(str, sorted(numbers, reverse=down)))
    small = any(word in text for word in ("small", "minimum", "less"))
    return str(min(numbers) if small else max(numbers))


def test_the_questions_are_what_they_seem():
    assert len(QUESTIONS) == 300
    assert {q["family"] for q in QUESTIONS} == {"addition", "subtraction", "sorting", "extremes"}
    assert [q["final"] for q in QUESTIONS] == [solve(q) for q in QUESTIONS]


@pytest.mark.parametrize("mode", ["speedy", "quality"])
def test_most_held_out_questions_are_answered_right(mode):
    right = edits = 0
    with llada.Model.load(FOLDER) as model:
        for question in QUESTIONS:
            answer = model.generate(question["question"], policy=getattr(llada.Policy, mode)(), gen_length=96)
            right += answer.text.strip().rpartition("Answer: ")[2] == solve(question)
            edits += answer.edits
    # Three standard errors below what the model card says would already be 5 points.
    assert right / len(QUESTIONS) > 0.8
    assert edits > 0
