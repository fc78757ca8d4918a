"""The questions that the family of models is trained and scored on: generators, checkers, splits."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from conftest import ROOT

TRAINING = ROOT / "examples" / "training"
sys.path.insert(0, str(TRAINING))

import tasks  # noqa: E402
import tokenizer as tok  # noqa: E402

HELD_OUT = tasks.fixed_set("held_out", per_family=40)
ALWAYS_THE_OTHER = SimpleNamespace(random=lambda: 1.0)


def drawn(family: str, level: int, count: int = 40) -> list[tasks.Question]:
    rng = random.Random(f"{family} {level}")
    return [tasks.draw(rng, "train", family, level) for _ in range(count)]


# -- The right answers once more, from the questions' own words: knows nothing of how tasks made them.


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def solve_addition(text: str) -> str:
    return str(sum(numbers(text)))


def solve_subtraction(text: str) -> str:
    return str(max(numbers(text)) - min(numbers(text)))


def solve_story(text: str) -> str:
    start, *events = re.split(r"(?<=\.) ", text)
    (total,) = numbers(start)
    for sentence in events:
        found = numbers(sentence)
        if "bags" in sentence:
            total += found[0] * found[1]
        elif found:
            total += found[0] if "more" in sentence else -found[0]
    return str(total)


def solve_bill(text: str) -> str:
    return str(sum(int(n) * int(price) for n, price in re.findall(r"(\d+) \w+ at (\d+)", text)))


def solve_match(text: str) -> str:
    names = [name for name in re.findall(r"\w+", text) if name in tasks.NAMES]
    first, second = (sum(numbers(part)) for part in text.split(names[1]))
    winner = names[0] if first > second else names[1]
    return f"{winner} by {abs(first - second)}" if first != second else "nobody"


def solve_output(text: str) -> str:
    variables: dict[str, int] = {}
    for target, expression in re.findall(r"(\w) = ([^;]+)", text):
        variables[target] = eval(expression, {}, variables)
    shown = re.search(r"; print (\w)", text)
    return str(variables[shown[1]]) if shown else ""


OPERATION = re.compile(r"\b(adds|subtracts|takes away|multiplies)(?: x)?(?: by)? (\d+)")
SIGNS = {"add": "+", "sub": "-", "tak": "-", "mul": "*"}


def solve_program(text: str) -> str:
    return "; ".join(f"x {SIGNS[verb[:3]]}= {k}" for verb, k in OPERATION.findall(text))


def solve_announced(text: str) -> str:
    started = re.search(r"x = (\d+)", text)
    value = int(started[1]) if started else 0
    for verb, k in OPERATION.findall(text):
        value = eval(f"{value} {SIGNS[verb[:3]]} {k}")
    return str(value)


def solve_implication(text: str) -> str:
    isa = dict(re.findall(r"Every (\w+) is a (\w+)", text))
    known = re.search(r"\b[A-Z]\w+ is a (\w+)\.", text)
    kind = known[1] if known else ""
    while kind in isa:
        kind = isa[kind]
    return f"a {kind}"


solve_proof = solve_implication


def solve_ordering(text: str) -> str:
    said = re.findall(r"(\w+) is (taller|shorter) than (\w+)", text)
    below = dict((a, b) if word == "taller" else (b, a) for a, word, b in said)
    (tallest,) = set(below) - set(below.values())
    ranking = [tallest]
    while ranking[-1] in below:
        ranking.append(below[ranking[-1]])
    return ranking[1] if "second" in text else ranking[-1] if "shortest" in text else ranking[0]


def solve_facts(text: str) -> str:
    if "capital" in text:
        places = sorted((text.index(country), city) for country, city in tasks.CAPITALS.items() if country in text)
        return ", ".join(city for _, city in places)
    return str(sum(legs for animal, legs in tasks.LEGS.items() if re.search(rf"\ban? {animal}\b", text)))


def solve_listing(text: str) -> str:
    among = {
        "names": tasks.NAMES,
        "colours": tasks.COLOURS,
        "foods": tasks.FOODS,
        "pets": tasks.PETS,
        "jobs": ("cook", "nurse", "pilot", "baker", "judge", "clown", "guard", "miner"),
    }
    every = {word for words in among.values() for word in words}
    listed = [word for word in re.findall(r"\w+", text) if word in every]
    wanted = re.findall(r"(colours|foods|pets|jobs|names)", text)[0]
    return f"{sum(word in among[wanted] for word in listed)} of {len(listed)}"


def solve_json(text: str) -> str:
    said = {
        "age": r"is (\d+) years",
        "job": r"works as a (\w+)",
        "pet": r"has a (\w+)",
        "food": r"likes (\w+)",
    }
    asked = re.search(r"keys ((?:\w+, )*\w+ and \w+)", text)
    keys = asked[1].replace(" and ", ", ").split(", ") if asked else []
    named = [m for m in re.finditer(r"\b([A-Z]\w+) (?:is \d|works|has|likes)", text) if m[1] in tasks.NAMES]
    people = []
    for match, after in zip(named, [*named[1:], None]):
        part = text[match.start() : after.start() if after else len(text)]
        found = {key: re.findall(said[key], part)[0] for key in keys if key != "name"} | {"name": match[1]}
        people.append({key: int(found[key]) if key == "age" else found[key] for key in keys})
    return json.dumps(people if len(people) > 1 else people[0])


def solve_counting(text: str) -> str:
    known = tasks.COLOURS + tasks.FOODS + tasks.PETS
    words = [word for word in re.findall(r"\w+", text) if word in known]
    return " ".join(word for word, n in zip(words, numbers(text)) for _ in range(n))


def solve_manifest(text: str) -> str:
    items, total = [], 0
    for n, thing in re.findall(r"(\d+) (\w+)", text):
        total += int(n)
        items.append({thing: int(n), "sum": total})
    return json.dumps({"count": len(items), "sum": total, "items": items})


@pytest.mark.parametrize("level", tasks.LEVELS)
@pytest.mark.parametrize("family", tasks.FAMILIES)
def test_the_answers_follow_from_the_questions(family, level):
    for question in drawn(family, level):
        assert question.final == globals()[f"solve_{family}"](question.text), question
        assert tasks.check(question, question.worked) == (True, True), question
        assert (question.family, question.level) == (family, level)


# -- From one to many


def test_families_begin_with_one_of_everything():
    texts = {family: [q.text for q in drawn(family, 1, 400)] for family in tasks.FAMILIES}

    def some(family: str, pattern: str) -> bool:
        return any(re.search(pattern, text) for text in texts[family])

    assert some("addition", r"\b99? ?(\+|plus|and) ?1\b") and some("addition", r"\b[0-9] ?(\+|plus|and) ?[0-9]\b")
    assert some("subtraction", r"\b10 ?(-|minus) ?1\b") and some("subtraction", r"\b(\d+) ?(-|minus) ?\1\b")
    assert some("facts", r"capital of [A-Z]\w+[?.]?$") and some("facts", r"legs does an? \w+ have")
    assert some("output", r"x = \d; print x\b")
    assert some("program", r"(that|x:) [a-z ]+ \d+\.")
    assert some("counting", r"\w+ 1 time\.?$")
    assert some("bill", r"\d \w+ at \d[., ]") and some("listing", r"(of|among) \w+( are|[.])")
    assert some("manifest", r"\d+ \w+ as JSON") and some("ordering", r"^\w+ is \w+ than \w+\. Who")
    hard = [q.text for q in drawn("addition", 2, 400)]
    assert any(re.search(r"\b999 ?(\+|plus|and) ?1\b", text) for text in hard)


@pytest.mark.parametrize("family", tasks.FAMILIES)
def test_higher_levels_take_longer_answers(family):
    mean = [sum(len(q.worked) for q in drawn(family, level)) / 40 for level in tasks.LEVELS]
    assert mean[0] < mean[1] < mean[2] * 1.05


# -- Checkers


WORKED_UP_TO = [name for name in tasks.FAMILIES if name not in tasks.CONSISTENCY]
STATED_FIRST = ("bill", "match", "proof", "listing")


@pytest.mark.parametrize("family", WORKED_UP_TO)
def test_an_answer_is_judged_by_what_it_says_and_not_by_its_wording(family):
    for question in (q for q in HELD_OUT if q.family == family):
        steps, final = question.worked.split(" Answer: ")
        assert final == question.final
        plain = tasks.plain(steps)
        other = tasks.worded(ALWAYS_THE_OTHER, plain)
        assert plain != other
        for right in (steps, plain, other):
            assert tasks.check(question, f"{right} Answer: {final}") == (True, True)

        wrong_step = re.sub(r"\w+\.$", "nonsense.", steps)
        assert tasks.check(question, f"{wrong_step} Answer: {final}") == (True, False)
        wrong_final = {"program": f"{final}; x += 1", "json": "{}"}.get(family, f"{final}1")
        assert tasks.check(question, f"{steps} Answer: {wrong_final}") == (False, False)
        assert tasks.check(question, f"{steps} {final}") == (False, False)


@pytest.mark.parametrize("family", STATED_FIRST)
def test_what_is_stated_first_is_what_counts(family):
    for question in (q for q in HELD_OUT if q.family == family):
        stated, steps = question.worked.split(". ", 1)
        for right in (steps, tasks.plain(steps), tasks.worded(ALWAYS_THE_OTHER, tasks.plain(steps))):
            assert tasks.check(question, f"{stated}. {right}") == (True, True)
        assert tasks.check(question, f"{stated}1. {steps}") == (False, False)
        assert tasks.check(question, f"{stated}. {steps} And so on.") == (True, False)
        assert tasks.check(question, steps) == (False, False)
        assert tasks.check(question, f"{steps} {stated}") == (False, False)


def test_a_program_is_judged_by_what_it_computes():
    question = tasks.Question("program", "", "", worked="Answer: x += 2; x += 3", final="x += 2; x += 3")
    assert tasks.check(question, "Answer: x += 5") == (True, False)
    assert tasks.check(question, "Answer: x += 6") == (False, False)
    assert tasks.check(question, "Answer: print(x + 5)") == (False, False)


def test_an_announced_output_must_be_what_the_program_prints():
    worked = "# prints 9\nx = 4\nx += 3 # gives 7\nx += 2 # gives 9\nprint x"
    question = tasks.Question("announced", "", "", worked=worked, final="9")
    assert tasks.check(question, worked) == (True, True)
    assert tasks.check(question, "# prints 9\nx = 4\nx += 5 # gives 9\nprint x") == (True, False)
    assert tasks.check(question, worked.replace("gives 7", "gives 8")) == (True, False)  # a comment
    assert tasks.check(question, worked.replace("prints 9", "prints 8")) == (False, False)
    assert tasks.check(question, worked.replace("x += 2", "x += 1")) == (False, False)
    for broken in ("", "# prints 9", "# prints 9\nprint x", "# prints 9\nx = 9", worked.replace("x = 4", "x = y")):
        assert tasks.check(question, broken) == (False, False)


def test_json_is_judged_by_what_it_holds():
    final = '{"count": 2, "sum": 5, "items": [{"pens": 1, "sum": 1}, {"cups": 4, "sum": 5}]}'
    question = tasks.Question("manifest", "", "", worked=final, final=final)
    assert tasks.check(question, final) == (True, True)
    assert tasks.check(question, final.replace(" ", "")) == (True, False)
    for wrong in ('"count": 3', '"count": 2.0', '"count": true', '"count": "2"'):
        assert tasks.check(question, final.replace('"count": 2', wrong)) == (False, False)
    assert tasks.check(question, final.replace('"sum": 5}]', '"sum": 6}]')) == (False, False)
    for broken in ("", final[:-1], "[" * 9999, final + "}"):
        assert tasks.check(question, broken) == (False, False)


# -- Splits


def test_splits_have_no_content_in_common():
    rng = random.Random(0)
    trained = [tasks.draw(rng, "train", family) for family in tasks.FAMILIES for _ in range(200)]
    validation = tasks.fixed_set("validation", per_family=40)
    parts = [{q.content for q in part} for part in (trained, validation, HELD_OUT)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert {tasks.split_of(content) for content in parts[1]} == {"validation"}

    # Nor in other words, as far as the question's own numbers tell.
    def operands(questions: list[tasks.Question]) -> set[tuple[str, ...]]:
        sums = [q for q in questions if q.family in ("addition", "subtraction", "bill")]
        return {(q.family, *re.findall(r"\d+", q.text)) for q in sums}

    assert not operands(trained) & operands(HELD_OUT) and not operands(validation) & operands(HELD_OUT)


def test_splits_are_one_in_sixteen_each():
    rng, contents = random.Random(1), set()
    while len(contents) < 4000:
        contents.add(tasks.BY_NAME["bill"].draw(rng, 2)[0])
    shares = Counter(map(tasks.split_of, contents))
    for split in ("held_out", "validation"):
        assert abs(shares[split] / len(contents) - 1 / 16) < 0.02


def test_fixed_sets_are_told_apart_by_their_text():
    # Runs are paired by it.
    assert len({q.text for q in HELD_OUT}) == len(HELD_OUT) == 40 * len(tasks.FAMILIES)
    assert {q.level for q in HELD_OUT} == set(tasks.LEVELS)


def test_files_of_questions_are_written_and_read(tmp_path):
    for _ in range(2):  # the same questions each time, in another process
        command = [sys.executable, "-m", "tasks", "--write", str(tmp_path), "--per-family", "40"]
        subprocess.run(command, cwd=TRAINING, check=True)
        back = tasks.read_jsonl(tmp_path / "held_out.jsonl")
        assert [(q.family, q.level, q.text, q.worked, q.final) for q in back] == [
            (q.family, q.level, q.text, q.worked, q.final) for q in HELD_OUT
        ]
    assert len(tasks.read_jsonl(tmp_path / "validation.jsonl")) == len(HELD_OUT)


# -- Tokens


def test_each_word_and_each_of_its_other_wordings_is_one_token():
    tokenizer = tok.build()
    assert tokenizer.get_vocab_size() + len(tok.EDITS) <= 1088  # vocab_size of the models
    texts = [text for q in HELD_OUT for text in (q.text, q.worked)]
    for word in {word for text in texts for word in re.findall(r"(?<!\S)[A-Za-z]+| [A-Za-z]+", text)}:
        assert len(tokenizer.encode(word).ids) == 1, word
    for question in HELD_OUT:
        plain = tasks.plain(question.worked)
        assert len(tokenizer.encode(plain).ids) == len(tokenizer.encode(question.worked).ids)
