"""The questions: sixteen families over the reports' five areas, at three levels of difficulty, asked in words, each
with worked steps and an answer that a program checks.

A question is drawn as *content* (for example the operands of a sum), then dressed in one of many phrasings. Questions
for training, validation and the last test are told apart by a hash of the content.

Ten families work up to `Answer: ...`; in the other six (CONSISTENCY) what comes later decides what came before: a total
before the items, a conclusion before the proof. A model that writes from left to right, block by block, has to state
it before it has worked it out; whoever looks back may put it right.

    python -m tasks                                         # a few questions of each family
    python -m tasks --write FOLDER --per-family 250         # FOLDER/validation.jsonl and FOLDER/held_out.jsonl
"""

from .question import LEVELS, SPLITS, Question, split_of
from .sets import (
    BY_NAME,
    CONSISTENCY,
    FAMILIES,
    FILES,
    check,
    draw,
    fixed_set,
    read_jsonl,
    write_jsonl,
)
from .wording import WORDINGS, plain, worded
from .world import CAPITALS, COLOURS, FOODS, KINDS, LEGS, NAMES, PETS, THINGS

AREAS = {
    area: tuple(f.name for f in BY_NAME.values() if f.area == area)
    for area in dict.fromkeys(f.area for f in BY_NAME.values())
}

__all__ = [
    "AREAS",
    "BY_NAME",
    "CAPITALS",
    "COLOURS",
    "CONSISTENCY",
    "FAMILIES",
    "FILES",
    "FOODS",
    "KINDS",
    "LEGS",
    "LEVELS",
    "NAMES",
    "PETS",
    "Question",
    "SPLITS",
    "THINGS",
    "WORDINGS",
    "check",
    "draw",
    "fixed_set",
    "plain",
    "read_jsonl",
    "split_of",
    "worded",
    "write_jsonl",
]
