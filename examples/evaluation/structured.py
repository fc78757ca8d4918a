"""Whether answers are valid by JSON schemas when a grammar keeps them so, at what tokens per forward, and at what cost.

    python3 examples/evaluation/structured.py examples/models --answers 50

50 answers to each of the forty schemas of schemas.py, none of which a model was trained for: to held-out questions of
all families, by five policies in turn, over one to three blocks. Then the family "json" of the held-out questions, with
the schema that a question asks for, and with the worked steps before the JSON that the models have learnt to write.
Every answer is judged by the package `jsonschema`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NamedTuple

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install './bindings/python[grammar]'
sys.path.insert(0, str(checkout / "examples" / "training"))

from jsonschema import Draft202012Validator

import llada
import llada.grammar
import tasks
from schemas import SCHEMAS
from score import add_common, chosen, opened, workers

POLICIES = {
    "2.0": ("tiny-2.0", llada.Policy.low_confidence()),
    "S": ("tiny-2.1", llada.Policy.speedy()),
    "Q": ("tiny-2.1", llada.Policy.quality(mbe_window=2)),
    "S, temperature 1": ("tiny-2.1", llada.Policy.speedy(temperature=1.0)),
    "L": ("tiny-2.2", llada.Policy.levenshtein()),
}
"""The checkpoint, and the policy."""

WORKED = r"(?:Here|Below) the keys are [a-z]+(?:[,;] (?:then|next) [a-z]+)*\. Answer: "


class Job(NamedTuple):
    group: str
    folder: Path
    policy: str
    question: str
    schema: Any
    prefix: str
    seed: int
    final: str = ""


class Result(NamedTuple):
    group: str
    policy: str
    is_valid: bool
    is_right: bool
    tokens: int
    forwards: int
    seconds: float
    text: str


def answered(job: Job) -> Result:
    checkpoint, policy = POLICIES[job.policy]
    model = opened(job.folder / checkpoint)
    rule = llada.grammar.regex(job.prefix + llada.grammar.schema_regex(job.schema)) if job.schema is not None else None
    started = time.perf_counter()
    answer = model.generate(job.question, policy.replace(seed=job.seed), gen_length=96, rule=rule)
    seconds = time.perf_counter() - started
    text = (answer.text or "").rpartition("Answer: ")[2] if job.prefix or rule is None else answer.text or ""
    is_valid, value = True, None
    try:
        value = json.loads(text)
        if job.schema is not None:
            judge = Draft202012Validator(job.schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
            is_valid = judge.is_valid(value)
    except ValueError:
        is_valid = False
    is_right = bool(job.final) and is_valid and value == json.loads(job.final)
    return Result(job.group, job.policy, is_valid, is_right, len(answer.tokens), answer.forwards, seconds, text)


def jobs_of_schemas(folder: Path, questions: list[tasks.Question], answers: int) -> Iterable[Job]:
    names = list(POLICIES)
    for place, (name, schema) in enumerate(SCHEMAS.items()):
        for number in range(answers):
            question = questions[(place * answers + number * 7) % len(questions)].text
            yield Job(name, folder, names[(place + number) % len(names)], question, schema, "", number)


def jobs_of_family(folder: Path, questions: list[tasks.Question]) -> Iterable[Job]:
    for question in questions:
        keys = {key: {"type": "integer" if key == "age" else "string"} for key in json.loads(question.final)}
        schema = {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}
        for policy in ("2.0", "S", "L"):
            ask = folder, policy, question.text
            yield Job("json, free", *ask, None, "", 0, question.final)
            yield Job("json, after worked steps", *ask, schema, WORKED, 0, question.final)
            yield Job("json, at once", *ask, schema, "", 0, question.final)


def row(name: str, some: list[Result]) -> str:
    tokens, forwards = sum(r.tokens for r in some), sum(r.forwards for r in some)
    milliseconds = 1000 * sum(r.seconds for r in some) / forwards
    right = f"{sum(r.is_right for r in some)}" if any(r.is_right for r in some) else "–"
    return (
        f"| {name} | {len(some)} | {sum(r.is_valid for r in some)} | {right} | {tokens / forwards:.2f} "
        f"| {forwards / len(some):.1f} | {milliseconds:.1f} |"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("models", type=Path, help="the folder of the tiny family")
    options.add_argument("--answers", type=int, default=50, help="to each schema")
    add_common(options)
    choice = options.parse_args()
    questions = chosen(tasks.read_jsonl(choice.questions), choice.per_family)
    folder = choice.models.absolute()
    with workers(choice.processes) as pool:
        assert isinstance(pool, Pool)
        schemas = pool.map(answered, list(jobs_of_schemas(folder, questions, choice.answers)), chunksize=10)
        family = pool.map(
            answered, list(jobs_of_family(folder, [q for q in questions if q.family == "json"])), chunksize=10
        )
    head = "| | answers | valid | right | tokens per forward | forwards an answer | ms a forward |\n" + "|---" * 7 + "|"
    print(head)
    for policy in POLICIES:
        print(row(f"forty schemas, {policy}", [r for r in schemas if r.policy == policy]))
    print(row("forty schemas, all", schemas))
    for group in dict.fromkeys(r.group for r in family):
        for policy in dict.fromkeys(r.policy for r in family):
            print(row(f"{group}, {policy}", [r for r in family if (r.group, r.policy) == (group, policy)]))
    for result in schemas:
        if not result.is_valid:
            print("NOT VALID", result, file=sys.stderr)


if __name__ == "__main__":
    main()
