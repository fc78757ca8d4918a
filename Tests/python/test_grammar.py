"""Structured answers: the automaton against outlines-core's own, the search against all there is, and answers against
jsonschema, whatever the policy does."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import llada
import llada.grammar
from conftest import ROOT
from llada.grammar.automaton import build_automaton
from llada.grammar.numerals import integers, numbers
from llada.grammar.search import best_way, forced, reachable
from llada.grammar.vocabulary import Vocabulary, read_vocabulary
from llada.synthetic.tokenizer import byte_alphabet

jsonschema = pytest.importorskip("jsonschema")
outlines_core = pytest.importorskip("outlines_core")
sys.path.insert(0, str(ROOT / "examples" / "evaluation"))

from schemas import SCHEMAS

MODELS = ROOT / "examples" / "models"
QUESTIONS = [json.loads(line)["question"] for line in (MODELS / "held_out.jsonl").read_text().splitlines()]
JSON_QUESTION = "Give JSON with keys pet, name and age. Ned has a goat and is 34 years old."
PERSON = {
    "type": "object",
    "properties": {"pet": {"type": "string"}, "name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["pet", "name", "age"],
}


@pytest.fixture(scope="module")
def models() -> dict[str, llada.Model]:
    return {
        name: llada.Model.load(MODELS / name, threads=1, progress=False)
        for name in ("tiny-2.0", "tiny-2.1", "tiny-2.2")
    }


@pytest.fixture(scope="module")
def words(models) -> Vocabulary:
    return vocabulary(models["tiny-2.1"])


def vocabulary(model: llada.Model) -> Vocabulary:
    return read_vocabulary(model._live(), model.vocab_size, model.eos_token_ids)


def valid(schema, text: str) -> bool:
    judge = jsonschema.Draft202012Validator
    return judge(schema, format_checker=judge.FORMAT_CHECKER).is_valid(json.loads(text))


# -- Tokens


@pytest.mark.parametrize("name", ["tiny-2.1", "tiny-2.2"])
def test_the_bytes_of_tokens_are_those_of_the_tokenizer(models, name):
    stored = json.loads((MODELS / name / "tokenizer.json").read_text())
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    added = {each["id"] for each in stored["added_tokens"]}
    expected = {
        token: bytes(byte_of[character] for character in text)
        for text, token in stored["model"]["vocab"].items()
        if token not in added
    }
    found = vocabulary(models[name]).text_of
    assert {token: expected[token] for token in found} == found
    never = {content for token, content in expected.items() if token not in found}
    assert never <= {bytes([byte]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100))}  # of no UTF-8


@pytest.mark.parametrize(
    "regex",
    ["[0-9]{3}-[a-z ]+", r'"([^"\\\x00-\x1f]|\\["\\/bfnrt])*"', "é+日本|😀", llada.grammar.schema_regex(PERSON)],
)
def test_the_automaton_is_the_one_of_outlines_core(words, regex):
    """Its own index, made with the same tokens. Where states of it do the same, ours has one."""
    texts: dict[bytes, list[int]] = {}
    for token, text in words.text_of.items():
        texts.setdefault(text, []).append(token)
    index = outlines_core.Index(regex, outlines_core.Vocabulary(words.ends[0], texts))
    ours, theirs = build_automaton(regex, words), index.get_transitions()
    names, waiting = {index.get_initial_state(): ours.start}, [index.get_initial_state()]
    while waiting:
        state = waiting.pop()
        row = ours.next[names[state]]
        allowed = {t: int(row[c]) for c in range(ours.end_class) if row[c] >= 0 for t in ours.members[c].tolist()}
        moves = {token: target for token, target in theirs.get(state, {}).items() if token not in words.ends}
        assert allowed.keys() == moves.keys()
        assert index.is_final_state(state) == (row[ours.end_class] == ours.ended)
        for token, target in moves.items():
            if target not in names:
                names[target] = allowed[token]
                waiting.append(target)
            assert names[target] == allowed[token]


@pytest.mark.parametrize("regex", ["a|ab|abc", "(a|ab)(c|bcd)?", "x{2,5}y|x{3}", "(foo|food|fo)+( |,)?", ".{1,3}"])
def test_alternatives_that_begin_alike_are_all_there(regex):
    letters = [b"a", b"b", b"c", b"d", b"x", b"y", b"ab", b"fo", b"od", b"food", b" ", b"xx", b"o", b"f"]
    words = Vocabulary(20, (19,), {letter: [token] for token, letter in enumerate(letters)})
    ours = build_automaton(regex, words)
    for count in range(4):
        for tokens in itertools.product(range(len(letters)), repeat=count):
            state = ours.start
            for token in tokens:
                letter = ours.class_of[token]
                state = int(ours.next[state, letter]) if state >= 0 and letter >= 0 else -1
            accepts = state >= 0 and ours.next[state, ours.end_class] == ours.ended
            assert accepts == bool(re.fullmatch(regex, b"".join(letters[t] for t in tokens).decode())), tokens


def test_counted_characters_take_no_time(words):
    assert (
        len(
            build_automaton(
                llada.grammar.schema_regex({"type": "string", "minLength": 3, "maxLength": 400}), words
            ).next
        )
        > 400
    )
    with pytest.raises(llada.InvalidArgumentError, match="states; at most 8192"):
        build_automaton(llada.grammar.schema_regex({"type": "string", "maxLength": 900}), words)


# -- The search


def toy(seed: int):
    """A small automaton, and what each token is worth at each of some positions."""
    rng = np.random.default_rng(seed)
    regex = ["(ab|c)*d?", "a{2,4}(b|c)", "(a|b(c|d))+", "[ab]*c[ab]*", "abc|ad|b", "(aa)*|b"][seed % 6]
    texts = {text: [token] for token, text in enumerate([b"a", b"b", b"c", b"d", b"ab", b"aa", b"bc"])}
    automaton = build_automaton(regex, Vocabulary(9, (8,), texts))
    count = int(rng.integers(1, 6))
    worth = rng.normal(size=(count, automaton.classes))
    worth[rng.random(worth.shape) < 0.2] = -np.inf
    allowed = (automaton.distance >= 0) & (automaton.distance <= rng.integers(0, 3))
    return automaton, worth, allowed


def all_ways(automaton, worth, allowed):
    """By trying all: (worth, classes)."""
    for way in itertools.product(range(automaton.classes), repeat=len(worth)):
        state = automaton.start
        for letter in way:
            state = int(automaton.next[state, letter]) if state >= 0 else -1
        total = float(sum(worth[index, letter] for index, letter in enumerate(way)))
        if state >= 0 and allowed[state] and total > -np.inf:
            yield total, way


@pytest.mark.parametrize("seed", range(60))
def test_the_best_way_is_the_best_of_all(seed):
    automaton, worth, allowed = toy(seed)
    ways = list(all_ways(automaton, worth, allowed))
    found = best_way(automaton, automaton.start, worth, allowed)
    if not ways:
        assert found is None
    else:
        assert tuple(found) in {way for _, way in ways}
        assert np.isclose(sum(worth[i, letter] for i, letter in enumerate(found)), max(ways)[0])
    at = [{way[index] for _, way in ways} for index in range(len(worth))]
    expected = [next(iter(letters)) if len(letters) == 1 else -1 for letters in at]
    assert forced(automaton, automaton.start, worth > -np.inf, allowed).tolist() == expected
    live = reachable(automaton, automaton.start, worth > -np.inf)
    assert live[0].sum() == 1 and live.shape == (len(worth) + 1, len(automaton.next))


# -- Schemas


def test_bounds_of_numbers():
    rng = random.Random(1)
    for _ in range(300):
        low, high = rng.choice([None, rng.randint(-2000, 2000)]), rng.choice([None, rng.randint(-2000, 2000)])
        whole = integers(low, high)
        for value in (
            *range(-12, 13),
            rng.randint(-3000, 3000),
            *(v + d for v in (low, high) if v is not None for d in (-1, 0, 1)),
        ):
            is_within = (low is None or value >= low) and (high is None or value <= high)
            assert bool(whole and re.fullmatch(whole, str(value))) == is_within, (low, high, value)
        above, below = rng.random() < 0.5, rng.random() < 0.5
        number = numbers(low, high, above, below)
        for text in (
            f"{rng.uniform(-20, 20):.2f}",
            *(f"{v}.0" for v in (low, high) if v),
            *(f"{v}.5" for v in (low, high) if v),
        ):
            value = float(text)
            after = low is None or value > low or (value == low and not above)
            before = high is None or value < high or (value == high and not below)
            assert bool(number and re.fullmatch(number, text)) == (after and before), (low, high, above, below, text)


def walk(automaton, words: Vocabulary, rng: random.Random) -> str:
    """A text that an automaton accepts, drawn."""
    state, texts = automaton.start, []
    while True:
        row = automaton.next[state]
        letters = np.flatnonzero(row[: automaton.end_class] >= 0).tolist()
        if not letters or (row[automaton.end_class] >= 0 and rng.random() < 0.3):
            return b"".join(texts).decode()
        if len(texts) > 20:
            letters = [min(letters, key=lambda letter: automaton.distance[row[letter]])]
        letter = rng.choice(letters)
        texts.append(words.text_of[rng.choice(automaton.members[letter].tolist())])
        state = int(row[letter])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_match_of_a_schema_is_valid(words, name):
    automaton, rng = build_automaton(llada.grammar.schema_regex(SCHEMAS[name]), words), random.Random(name)
    for _ in range(25):
        text = walk(automaton, words, rng)
        assert valid(SCHEMAS[name], text), text


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        (PERSON, ['{"pet": "cat", "name": "Ann", "age": 3}', '{"pet":"","name":"\\u00e9 \\n","age":-12}']),
        ({"type": "array", "items": {"type": "number"}}, ["[]", "[1]", "[1, 2.50,-3]"]),
        (
            {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["b"]},
            ['{"b": [1, {"x": null}]}', '{"a": 1, "b": 2, "c": 3}', '{"b": 1, "c": ""}'],
        ),
        ({"$defs": {"n": {"type": "integer"}}, "anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}, ["7", "null"]),
        ({"type": "string", "format": "date-time"}, ['"2024-02-28T23:59:59Z"', '"1999-12-31T00:00:00.5+01:00"']),
        ({"type": "object"}, ["{}", '{"a": {"b": 1}, "c": [true]}']),
        ('{"const": "a.b*c"}', ['"a.b*c"']),
    ],
)
def test_what_is_valid_and_usual_matches(schema, texts):
    regex = llada.grammar.schema_regex(schema)
    for text in texts:
        assert re.fullmatch(regex, text), text
        assert not re.fullmatch(regex, text + "}") and not re.fullmatch(regex, " " + text)


def test_expressions_of_schemas_may_be_parts():
    for schema, text in (({"type": "boolean"}, "false"), (True, "null"), ({"type": "integer", "minimum": 0}, "17")):
        whole = "Answer: " + llada.grammar.schema_regex(schema) + llada.grammar.literal(" (done)")
        assert re.fullmatch(whole, f"Answer: {text} (done)") and not re.fullmatch(whole, text)
        assert not re.fullmatch(whole, f"Answer: {text}") and not re.fullmatch(whole, f"{text} (done)")


@pytest.mark.parametrize(
    ("schema", "words_of_it"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems is not supported"),
        ({"not": {"type": "string"}}, "'not' is not supported"),
        ({"type": "string", "pattern": "^a"}, "'pattern' is not supported"),
        ({"type": "number", "minimum": 0.5}, "with a fraction"),
        ({"type": "integer", "multipleOf": 5}, "multipleOf"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "a value might be valid by both"),
        ({"$ref": "https://example.com/x"}, "within the schema"),
        ({"$ref": "#/$defs/x"}, "there is no #/\\$defs/x"),
        ({"type": "strnig"}, "type is 'strnig'"),
        ({"type": "array", "items": 3}, "at \\$.items is 3"),
        ({"enum": []}, "nothing is valid"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "nothing is valid"),
        (
            {
                "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
                "$ref": "#/$defs/a",
            },
            "nothing is valid within depth 3",
        ),
        ({"type": "string", "maxLength": 5000}, "above 1000"),
        ("{", "no JSON"),
        (3, "expected an object or a bool"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(schema, words_of_it):
    with pytest.raises((llada.InvalidArgumentError, llada.UnsupportedError), match=words_of_it):
        llada.grammar.json_schema(schema)


# -- Answers

POLICIES = {
    "2.0": ("tiny-2.0", llada.Policy.low_confidence()),
    "2.0 in 3 steps": ("tiny-2.0", llada.Policy.low_confidence(threshold=0.5, steps=3)),
    "S": ("tiny-2.1", llada.Policy.speedy()),
    "Q": ("tiny-2.1", llada.Policy.quality()),
    "MBE": ("tiny-2.1", llada.Policy.speedy(mbe_window=2)),
    "penalty": ("tiny-2.1", llada.Policy.speedy(penalty_lambda=1.0)),
    "temperature": ("tiny-2.1", llada.Policy.speedy(temperature=1.5)),
    "L": ("tiny-2.2", llada.Policy.levenshtein()),
    "L of SGLang": ("tiny-2.2", llada.Policy.levenshtein(variant="indel", temperature=1.0)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_answers_are_valid_whatever_the_policy(models, name):
    """Over blocks and lengths, schemas and questions; and after each step what is written can become an answer."""
    checkpoint, policy = POLICIES[name]
    model, rng = models[checkpoint], random.Random(name)
    for place, schema in enumerate(rng.sample(list(SCHEMAS.values()), 10)):
        rule = llada.grammar.json_schema(schema)
        options = {"gen_length": rng.choice([40, 48, 96]), "eos_early_stop": rng.random() < 0.7, "rule": rule}
        dec = model.decoder(rng.choice(QUESTIONS), policy.replace(seed=place), **options)
        while not dec.finished:
            dec.step()
            if not dec.finished:
                rule.begin(dec)  # raises where no valid answer is left
        assert valid(schema, dec.text), (schema, dec.text)


@pytest.mark.parametrize("name", ["2.0", "S", "Q", "L", "L of SGLang"])
def test_a_grammar_of_everything_changes_nothing(models, name):
    checkpoint, policy = POLICIES[name]
    model, rule = models[checkpoint], llada.grammar.regex("(?s:.)*")
    for question in QUESTIONS[::357]:
        free = model.generate(question, policy, gen_length=96)
        kept = model.generate(question, policy, gen_length=96, rule=rule)
        assert kept.tokens.tolist() == free.tokens.tolist()
        # What L moves behind the end, a grammar does not.
        assert kept.forwards == free.forwards or policy.kind == "levenshtein"


def test_worked_steps_before_json_cost_no_forwards(models):
    free = models["tiny-2.1"].generate(JSON_QUESTION, llada.Policy.speedy(), gen_length=96)
    regex = "Here the keys are [a-z, ]*\\. Answer: " + llada.grammar.schema_regex(PERSON)
    kept = models["tiny-2.1"].generate(
        JSON_QUESTION, llada.Policy.speedy(), gen_length=96, rule=llada.grammar.regex(regex)
    )
    assert kept.text == free.text and kept.forwards == free.forwards
    assert json.loads(kept.text.rpartition("Answer: ")[2]) == {"pet": "goat", "name": "Ned", "age": 34}


def test_many_answers_share_a_grammar(models):
    rule = llada.grammar.choices(["yes", "no", "a (b) [c]", "I'm not sure."])
    answers = models["tiny-2.1"].generate_many(
        QUESTIONS[:12], llada.Policy.speedy(), in_flight=5, gen_length=16, rule=rule
    )
    assert {answer.text for answer in answers} <= {"yes", "no", "a (b) [c]", "I'm not sure."}
    one = models["tiny-2.1"].generate(QUESTIONS[3], llada.Policy.speedy(), gen_length=16, rule=rule)
    assert one.tokens.tolist() == answers[3].tokens.tolist()
    found: list[str] = []

    def answer(question: str) -> None:
        found.append(models["tiny-2.1"].generate(question, gen_length=16, rule=rule).text)

    threads = [threading.Thread(target=answer, args=[question]) for question in QUESTIONS[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and set(found) <= {"yes", "no", "a (b) [c]", "I'm not sure."}


def test_an_answer_of_exactly_the_length(models):
    model = models["tiny-2.1"]
    rule = llada.grammar.regex("[0-9]+(-[0-9]+){3}")
    least = min(n for n in range(1, 12) if fits(model, rule, n))
    answer = model.generate(QUESTIONS[0], gen_length=least, rule=rule)
    assert len(answer.tokens) == least and re.fullmatch(rule.regex, answer.text)
    with pytest.raises(llada.InvalidArgumentError, match=f"takes at least {least}"):
        model.generate(QUESTIONS[0], gen_length=least - 1, rule=rule)


def fits(model, rule, length: int) -> bool:
    try:
        model.decoder(QUESTIONS[0], gen_length=length, rule=rule).close()
    except llada.InvalidArgumentError:
        return False
    return True


def test_too_short_a_length_is_an_error_in_its_place_of_many(models):
    rule = llada.grammar.json_schema(PERSON)
    with pytest.raises(llada.InvalidArgumentError, match="gen_length leaves 5 tokens; an answer of the grammar takes"):
        models["tiny-2.1"].decoder(QUESTIONS[0], gen_length=5, rule=rule)
    problems = models["tiny-2.1"].generate_many(QUESTIONS[:2], gen_length=5, rule=rule, on_error="return")
    assert [type(problem) for problem in problems] == [llada.InvalidArgumentError] * 2


def test_after_the_end_comes_nothing_but_the_end(models):
    model = models["tiny-2.1"]
    dec = model.decoder(
        QUESTIONS[0], llada.Policy.speedy(), gen_length=90, eos_early_stop=False, rule=llada.grammar.choices(["no"])
    )
    dec.run()
    ends = [token in model.eos_token_ids for token in dec.canvas[dec.prompt_length :].tolist()]
    assert ends == sorted(ends) and sum(ends) > 64 and dec.text == "no"
    assert dec.forwards < 12  # and needs no thought


def test_what_the_host_does_is_respected(models):
    model, rule = models["tiny-2.1"], llada.grammar.json_schema(PERSON)
    cat, brace = model.tokenizer.encode("cat")[0], model.tokenizer.encode("}")[0]
    dec = model.decoder(JSON_QUESTION, llada.Policy.speedy(), gen_length=64, rule=rule)
    place = dec.prompt_length + 40  # in a block to come
    dec.set(place, int(cat))
    dec.lock(place)
    dec.run()
    assert dec.canvas[place] == cat and valid(PERSON, dec.text)
    dec = model.decoder(JSON_QUESTION, llada.Policy.speedy(), gen_length=64, rule=rule)
    dec.set(dec.prompt_length, int(brace))
    with pytest.raises(
        llada.InvalidArgumentError, match=f"position {dec.prompt_length} has token {brace}, with which no"
    ):
        dec.step()
    dec = model.decoder(JSON_QUESTION, llada.Policy.speedy(), gen_length=64, rule=rule)
    dec.set(dec.prompt_length, int(model.tokenizer.encode("{")[0]))
    dec.step()
    fork = dec.fork()
    restored = model.restore(dec.to_bytes(), rule=rule)
    assert dec.run().text == fork.run().text == restored.run().text and valid(PERSON, dec.text)
    dec = model.decoder(JSON_QUESTION, gen_length=64, rule=rule)
    dec.lock(dec.prompt_length + 3)
    with pytest.raises(llada.StateError, match="locked as a mask"):
        dec.step()


def test_bans_and_biases_are_kept(models):
    model = models["tiny-2.1"]
    rule = llada.grammar.choices(["cat", "dog", "goat"])
    first = {word: int(model.tokenizer.encode(word)[0]) for word in ("cat", "dog", "goat")}
    wanted = model.generate(JSON_QUESTION, llada.Policy.speedy(), gen_length=8, rule=rule).text
    for word, token in first.items():
        assert model.generate(JSON_QUESTION, gen_length=8, rule=rule, logit_bias={token: 60.0}).text == word
    other = model.generate(JSON_QUESTION, gen_length=8, rule=rule, logit_bias={first[wanted]: -np.inf}).text
    assert other != wanted and other in first


@pytest.mark.parametrize(
    ("regex", "words_of_it"),
    [
        ("(", "has no automaton"),
        ("(?=a)b", "without anchors or look-around"),
        ("^a", "without anchors or look-around"),
        ("a)|(?:b", "closes a group that is not open"),
        ("(?:[^a]{1000}){1000}", r"has about 8\d{6} characters"),
        ("[^\\s\\S]", "has no automaton"),
    ],
)
def test_what_is_no_regular_expression_is_refused(models, regex, words_of_it):
    with pytest.raises(llada.InvalidArgumentError, match=words_of_it):
        models["tiny-2.1"].decoder(JSON_QUESTION, rule=llada.grammar.regex(regex))


def test_what_is_no_grammar_is_refused(models, monkeypatch):
    model = models["tiny-2.1"]
    for texts, problem in [
        ([], llada.InvalidArgumentError),
        ([""], llada.InvalidArgumentError),
        ("yes", TypeError),
        ([1], TypeError),
    ]:
        with pytest.raises(problem):
            llada.grammar.choices(texts)
    with pytest.raises(TypeError):
        llada.grammar.regex(b"a")
    monkeypatch.setitem(sys.modules, "outlines_core", None)
    with pytest.raises(ImportError, match="pip install outlines-core"):
        model.decoder(JSON_QUESTION, rule=llada.grammar.regex("not seen before"))


def test_a_rule_begins_before_anything_is_computed(models):
    seen = []

    class Beginning:
        def begin(self, decoder):
            seen.append(decoder.computed_positions)

        def __call__(self, decoder):
            return None

    dec = models["tiny-2.1"].decoder(JSON_QUESTION, rule=Beginning())
    dec.step()
    dec.rule = Beginning()
    assert seen[0] == 0 and len(seen) == 2


def test_the_script_that_counts_valid_answers(tmp_path):
    """examples/evaluation/structured.py, on few answers."""
    questions = tmp_path / "questions.jsonl"
    lines = (MODELS / "held_out.jsonl").read_text().splitlines()
    questions.write_text("\n".join(line for line in lines if '"family": "json"' in line))
    script = [sys.executable, ROOT / "examples" / "evaluation" / "structured.py", MODELS, "--answers", "1"]
    done = subprocess.run(
        [*script, "--questions", questions, "--per-family", "1"], capture_output=True, text=True, check=True
    )
    rows = [line.split(" | ") for line in done.stdout.splitlines() if ", " in line]
    assert len(rows) == 15 and "NOT VALID" not in done.stderr
    assert all(row[1] == row[2] for row in rows if "free" not in row[0])
