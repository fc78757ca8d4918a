"""Questions drawn, checked, and kept in files."""

import json
import random

from . import arithmetic, coding, instructions, knowledge, reasoning
from .question import LEVELS, Question, split_of
from .wording import plain

BY_NAME = {
    family.name: family for room in (arithmetic, coding, reasoning, knowledge, instructions) for family in room.FAMILIES
}
FAMILIES = tuple(BY_NAME)
CONSISTENCY = tuple(name for name, family in BY_NAME.items() if family.consistency)
WEIGHTS = tuple(family.weight for family in BY_NAME.values())
FILES = {"held_out": 2026, "validation": 2027}  # seeds of the fixed lists


def draw(rng, split="train", family=None, level=None):
    """One question of one of SPLITS. Families come up in proportion to how long they take to learn."""
    family = family or rng.choices(FAMILIES, WEIGHTS)[0]
    while True:
        chosen = level or rng.choices(LEVELS, BY_NAME[family].shares)[0]
        content, text, worked, final = BY_NAME[family].draw(rng, chosen)
        if split_of(content) == split:
            return Question(family, content, text, worked, final, chosen)


def check(question, answer):
    """(final, strict): is the answer right; is every worked step right too, in whatever wording."""
    family, answer = BY_NAME[question.family], answer.strip()
    found = family.final(answer)
    right = found is not None and family.same(found, question.final)
    return right, right and plain(answer) == plain(question.worked)


def fixed_set(split, per_family):
    """A fixed list of questions of a split, no content and no text twice."""
    rng, questions = random.Random(FILES[split]), []
    for family in FAMILIES:
        contents, texts = set(), set()
        while len(contents) < per_family:
            q = draw(rng, split, family)
            if q.content not in contents and q.text not in texts:
                contents.add(q.content)
                texts.add(q.text)
                questions.append(q)
    return questions


def write_jsonl(path, questions):
    with open(path, "w") as f:
        for q in questions:
            fields = {"family": q.family, "level": q.level, "question": q.text, "final": q.final, "worked": q.worked}
            f.write(json.dumps(fields) + "\n")


def read_jsonl(path):
    with open(path) as f:
        return [
            Question(d["family"], d["question"], d["question"], d["worked"], d["final"], d.get("level", 0))
            for d in map(json.loads, f)
        ]
