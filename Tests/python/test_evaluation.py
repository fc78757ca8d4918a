"""The scripts that score a family of checkpoints on its held-out questions: what they add up must be true."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT

sys.path[:0] = [str(ROOT / "examples" / "evaluation"), str(ROOT / "examples" / "training")]

import effects  # noqa: E402
import llada  # noqa: E402
import modes  # noqa: E402
import paired  # noqa: E402
import results  # noqa: E402
import tasks  # noqa: E402

QUESTIONS = tasks.read_jsonl(ROOT / "examples" / "models" / "held_out.jsonl")


def outcome(number: int = 0, family: str = "story", **known) -> results.Outcome:
    defaults = {"final": True, "strict": True, "tokens": 30, "forwards": 6, "edits": 1, "blocks": 1, "text": None}
    return results.Outcome(f"{family} {number}", family, **{**defaults, **known})


def some_run(seed: int, questions: int = 400) -> list[results.Outcome]:
    rng = np.random.default_rng(seed)
    return [
        outcome(n, final=bool(rng.random() < 0.8), tokens=int(rng.integers(20, 60)), forwards=int(rng.integers(3, 20)))
        for n in range(questions)
    ]


# -- Modes and results


def test_modes_are_the_presets():
    policy = {mode: llada.Policy(**modes.fields(mode)) for mode in modes.MODES}
    assert policy["2.0"] == llada.Policy.low_confidence()
    assert policy["S"] == llada.Policy.speedy()
    assert policy["Q"] == llada.Policy.quality()
    assert policy["S-noedit"] == llada.Policy.speedy(editing_threshold=1.0)
    assert policy["S-mbe"] == llada.Policy.speedy(mbe_window=2)
    assert policy["Q-mbe"] == llada.Policy.quality(mbe_window=2)
    assert policy["L"] == policy["L-nomove"] == llada.Policy.levenshtein()
    assert modes.logit_bias("L-nomove@0.3", (7, 9)) == {7: -math.inf, 9: -math.inf}
    assert modes.logit_bias("L", (7, 9)) == modes.logit_bias("L-nomove", (None, None)) == {}


def test_a_mode_may_name_its_threshold():
    assert llada.Policy(**modes.fields("S@0.3")) == llada.Policy.speedy(threshold=0.3)
    assert llada.Policy(**modes.fields("2.0@0.8")) == llada.Policy.low_confidence(threshold=0.8)
    assert modes.fields("S")["threshold"] == 0.5
    for wrong in ("T", "S@", "S@high"):
        with pytest.raises(ValueError, match=re.escape(repr(wrong))):
            modes.fields(wrong)


def test_results_are_added_and_replaced_mode_by_mode(tmp_path):
    path = tmp_path / "results.json"
    first, second, third = ([outcome(n)] for n in range(3))
    results.add(path, {"a": {"S": first, "Q": first}})
    results.add(path, {"a": {"S": second}})
    results.add(path, {"b": {"S": third}})
    assert results.read(path) == {"a": {"S": second, "Q": first}, "b": {"S": third}}
    assert list(tmp_path.iterdir()) == [path]


def test_score_writes_what_the_model_answers(tmp_path):
    folder, questions, out = ROOT / "examples" / "models" / "tiny-2.1", tmp_path / "q.jsonl", tmp_path / "results.json"
    tasks.write_jsonl(questions, QUESTIONS)
    script = [sys.executable, str(ROOT / "examples" / "evaluation" / "score.py"), str(folder)]
    more = ["--modes", "S@0.3", "S-mbe", "--questions", str(questions), "--per-family", "1", "--out", str(out)]
    more += ["--gen-length", "64", "--mbe", "3", "2"]
    printed = subprocess.run(script + more, capture_output=True, text=True, check=True).stdout
    assert "| S@0.3 | all |" in printed

    scored = results.read(out)["tiny-2.1"]
    families = list(dict.fromkeys(q.family for q in QUESTIONS))
    assert all([o.family for o in outcomes] == families for outcomes in scored.values())
    policies = {"S@0.3": llada.Policy.speedy(threshold=0.3), "S-mbe": llada.Policy.speedy(mbe_window=3, mbe_rounds=2)}
    with llada.Model.load(folder, threads=1) as model:
        for mode, o in [(name, outcome) for name in policies for outcome in scored[name]]:
            prompt = model.encode_prompt(o.question)
            answer = model.generate(prompt, policies[mode], gen_length=64)
            assert (o.tokens, o.forwards, o.edits) == (len(answer.tokens), answer.forwards, answer.edits)
            assert (o.insertions, o.deletions) == (0, 0)
            assert o.text == (None if o.strict else answer.text)
            places = np.arange(len(answer.tokens)) + len(prompt)
            assert o.blocks == len(set(places // 32))


def test_precision_measures_against_f32(tmp_path):
    folder, questions = ROOT / "examples" / "models" / "tiny-2.1", tmp_path / "q.jsonl"
    tasks.write_jsonl(questions, QUESTIONS)
    script = [
        sys.executable,
        str(ROOT / "examples" / "evaluation" / "precision.py"),
        str(folder),
        "--questions",
        str(questions),
    ]
    more = ["--per-family", "1", "--dtype", "auto", "int4", "--expert-capacity", "2"]
    printed = subprocess.run(script + more, capture_output=True, text=True, check=True).stdout
    rows = {cells[0]: cells[1:] for line in printed.splitlines()[4:] for cells in [line.strip("| ").split(" | ")]}
    assert rows["auto"] == rows["f32"]  # bf16 in the file, and the same arithmetic
    divergence, agreement = ({name: float(cells[n]) for name, cells in rows.items()} for n in (0, 1))
    assert divergence["f32"] == 0 < divergence["int4"] < divergence["f32, 2 experts a block"]
    assert agreement["f32"] == 100 >= agreement["int4"] > agreement["f32, 2 experts a block"]


# -- Statistics


def test_refresh_runs_fewer_rows(tmp_path):
    """A line for all rows and one for fewer; and the rows of each forward, also with the next block always riding."""
    script = [sys.executable, str(ROOT / "examples" / "evaluation" / "refresh.py")]
    model = str(ROOT / "examples" / "models" / "tiny-2.1")
    more = [model, "--modes", "S", "--per-family", "1", "--processes", "1", "--replay", str(tmp_path / "rows.json")]
    printed = subprocess.run(script + more, capture_output=True, text=True, check=True).stdout
    full, fewer = ([cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:])
    assert full[:3] == ["tiny-2.1", "S", "all rows"] and fewer[:3] == ["tiny-2.1", "S", "refresh"]
    assert float(full[6]) > float(full[5]) > 1  # riders leave fewer forwards
    assert float(fewer[7]) < float(full[7]) and float(fewer[8]) < float(full[8])
    courses = {course["name"]: course for course in json.loads((tmp_path / "rows.json").read_text())}
    assert list(courses) == [f"tiny-2.1 S{what}" for what in ("", " riding", " refresh", " refresh riding")]
    tokens = courses["tiny-2.1 S"]["tokens"]
    for course in courses.values():
        run = [rows for rows, _ in course["forwards"] if rows]
        assert all(0 < rows <= 64 for rows in run)
    assert sum(rows > 0 for rows, _ in courses["tiny-2.1 S riding"]["forwards"]) == round(tokens / float(full[6]), 0)


def test_runs_are_paired_by_question():
    after, before = [outcome(n, edits=1) for n in (3, 1, 2)], [outcome(n, edits=2) for n in (1, 2, 4)]
    assert paired.pairs(after, before) == [(after[1], before[0]), (after[2], before[1])]


def test_the_error_of_a_paired_difference():
    both = paired.pairs(some_run(1), some_run(2))
    # From the two counts of questions on which the runs disagree.
    gained = sum(a.final and not b.final for a, b in both)
    lost = sum(b.final and not a.final for a, b in both)
    n = len(both)
    variance = (gained + lost - (gained - lost) ** 2 / n) / (n - 1)
    assert paired.points(both, "final") == pytest.approx((100 * (gained - lost) / n, 100 * (variance / n) ** 0.5))


def test_the_error_of_a_ratio_of_tokens_per_forward():
    both = paired.pairs(some_run(1), some_run(2))
    ratio, error = paired.tpf_ratio(both)
    assert ratio == pytest.approx(results.tpf(a for a, _ in both) / results.tpf(b for _, b in both))
    # The logarithm of the ratio, to first order in what one question adds to the four means.
    counts = np.array([(a.tokens, a.forwards, b.tokens, b.forwards) for a, b in both], dtype=float)
    influence = (counts / counts.mean(axis=0)) @ (1, -1, -1, 1)
    assert error == pytest.approx(ratio * influence.std(ddof=1) / len(both) ** 0.5, rel=0.1)


def test_a_ratio_that_is_the_same_for_every_question_has_no_error():
    before = some_run(1)
    after = [outcome(n, tokens=b.tokens, forwards=2 * b.forwards) for n, b in enumerate(before)]
    assert paired.tpf_ratio(paired.pairs(after, before)) == pytest.approx((0.5, 0))


def test_block_editing_is_asked_of_families_that_span_blocks():
    def runs(**known) -> list:
        short = [outcome(n, "short", blocks=1 + n % 2, **known) for n in range(10)]
        return short + [outcome(n, "long", blocks=1 + (n > 2), **known) for n in range(10)]

    assert effects.spanning(runs()) == {"long": 0.7}
    scored = {"tiny-2.1": {"S": runs(), "S-mbe": runs(forwards=7)}}
    assert {after.family for after, _ in effects.compared(effects.MBE, scored)} == {"long"}


def test_block_editing_is_asked_of_families_in_which_later_decides_earlier():
    late = next(effect for effect in effects.EFFECTS if effect.families is effects.consistency)
    runs = [outcome(n, family) for family in ("bill", "story", "proof") for n in range(5)]
    scored = {"tiny-2.1": {"S": runs, "S-mbe": runs}}
    assert {after.family for after, _ in effects.compared(late, scored)} == {"bill", "proof"}


def test_scores_by_level():
    runs = [outcome(n, level=1 + n % 2, final=n % 4 == 0) for n in range(8)]
    lines = effects.levels_table({"tiny-2.1": {"S": runs, "Q": runs[1::2]}}).splitlines()
    assert lines[0] == "| checkpoint, mode | family | level 1, % | level 2, % |" and len(lines) == 5
    assert lines[2:] == [
        "| tiny-2.1, S | story | 50.0 ± 25.0 | 0.0 ± 0.0 |",
        "| tiny-2.1, S | all | 50.0 ± 25.0 | 0.0 ± 0.0 |",
        "| tiny-2.1, Q | all |  | 0.0 ± 0.0 |",
    ]


@pytest.mark.parametrize(
    "right_after, higher, lower",
    [({"story": 60, "json": 50}, 1, 0), ({"story": 50, "json": 50}, 0, 0), ({"story": 60, "json": 48}, 1, 1)],
)
def test_reinforcement_is_judged_family_by_family(right_after, higher, lower):
    before = [outcome(n, family, final=n < 50) for family in right_after for n in range(100)]
    after = [outcome(n, family, final=n < right) for family, right in right_after.items() for n in range(100)]
    assert effects.families_table(paired.pairs(after, before)).endswith(
        f"Higher on {higher} of 2 families, lower by more than a point on {lower}."
    )
