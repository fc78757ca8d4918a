"""The labels LLaDA2.2 is trained on: they are as few edits as there can be, and lead to the target."""

from __future__ import annotations

import json
import random
import sys
from functools import cache

import pytest

from conftest import CONFORMANCE, ROOT

sys.path.insert(0, str(ROOT / "examples" / "training"))
import levenshtein  # noqa: E402

MASK, DELETE, INSERT = -1, -2, -3


def labels(draft, target) -> list:
    return levenshtein.labels(draft, target, MASK, DELETE, INSERT)[0]


def words(text: str) -> list:
    marks = {"_": MASK, "-": DELETE, "+": INSERT}
    return [marks.get(c, c) for c in text]


def distance(draft: list, target: list) -> int:
    """By its definition, with masks that may become any token."""

    @cache
    def between(i: int, j: int) -> int:
        if i == len(draft) or j == len(target):
            return len(draft) - i + len(target) - j
        same = draft[i] in (MASK, target[j])
        return min(between(i + 1, j + 1) + (not same), between(i + 1, j) + 1, between(i, j + 1) + 1)

    return between(0, 0)


def random_pair(rng: random.Random, masks: float) -> tuple[list, list]:
    """A target, and a draft of its length: the target with a few tokens changed, dropped and added."""
    letters, length = "abcdefgh"[: rng.randint(2, 8)], rng.randint(1, 12)
    target = [rng.choice(letters) for _ in range(length)]
    draft = list(target)
    for _ in range(rng.randint(0, 5)):
        at = rng.randrange(len(draft))
        draft[at : at + rng.randint(0, 1)] = [rng.choice(letters) for _ in range(rng.randint(0, 1))]
        draft = draft or ["a"]
    draft = [MASK if rng.random() < masks else token for token in draft]
    return (draft + [rng.choice(letters) for _ in range(length)])[:length], target


@pytest.mark.parametrize(
    "draft, target, expected",
    [
        ("abcd", "abcd", "abcd"),
        ("____", "abcd", "abcd"),
        ("axcd", "abcd", "abcd"),
        ("acde", "abcd", "a+d-"),  # forgotten; what was pushed off is deleted
        ("acd_", "abcd", "a+d_"),
        ("aaxbcd", "aabcde", "aa-bcd"),  # one too many
        ("xxbcdefg", "bcdefghi", "--bcdefg"),
        ("adef__", "abcdef", "a+ef__"),  # one insertion a round
        ("a_bc_", "axybc", "ax+c_"),  # what stands before an anchor is paired from the left
        ("ab3798cd", "ab7398cd", "ab7398cd"),  # not deleted and inserted
        ("zzzz", "abcd", "----"),  # no anchor
        ("abcz", "abcd", "abc-"),  # after the last
    ],
)
def test_labels_of_small_drafts(draft, target, expected):
    given = labels(words(draft), words(target))
    # Masks at the end that insertions push off may become anything.
    assert [e if e != MASK else g for e, g in zip(words(expected), given, strict=True)] == given


def test_they_are_the_fewest_edits():
    rng, seen = random.Random(1), 0
    for _ in range(3000):
        draft, target = random_pair(rng, masks=0)
        found = levenshtein.anchors(draft, target, MASK)
        assert all(a < b for one, two in zip(found, found[1:]) for a, b in zip(one, two))
        assert all(draft[i] == target[j] for i, j in found)
        edits, at = 0, (-1, -1)
        for i, j in [*found, (len(draft), len(target))]:
            edits += max(i - at[0], j - at[1]) - 1  # between two anchors: what is paired, and the surplus
            at = i, j
        assert edits == distance(draft, target)
        seen += edits > 2
    assert seen > 500


@pytest.mark.parametrize("masks", [0, 0.2, 0.6])
def test_rounds_of_labels_give_the_target(masks):
    rng, most = random.Random(2), 0
    for _ in range(3000):
        draft, target = random_pair(rng, masks)
        rounds = 0
        while draft != target:
            draft = levenshtein.scanned(labels(draft, target), draft, MASK, DELETE, INSERT)
            rounds += 1
            assert rounds <= 2 * len(target)
        most = max(most, rounds)
    assert most > 2


def test_either_wording_is_right():
    target = ["a", ("then", "next"), "b"]
    assert labels(["a", "next", "b"], target) == ["a", "next", "b"]
    assert labels(["a", MASK, "x"], target) == ["a", "then", DELETE]
    assert labels(["next", "b", "c", "x"], [*target, "c"]) == [INSERT, "b", "c", DELETE]


def test_places_are_those_of_the_target():
    given = levenshtein.labels(words("acde"), words("abcd"), MASK, DELETE, INSERT)
    assert given == (words("a+d-"), [0, 1, 3, 3])


@pytest.mark.parametrize("case", json.loads((CONFORMANCE / "units.json").read_text())["edit_scan"])
def test_the_edit_scan_is_the_published_one(case):
    generated = slice(case["prompt_len"], None)  # a prompt is not scanned
    block = levenshtein.scanned(
        case["tokens"][generated], case["old"][generated], case["mask"], case["delete"], case["split"]
    )
    assert case["tokens"][: case["prompt_len"]] + block == case["out"]
