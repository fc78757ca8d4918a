"""The model of lm-evaluation-harness, asked by the real package: the same scores as score.py, the same bounds as
`Model.elbo`, and caches that hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

import llada
import llada.lm_eval
import modes
import score
import tasks
from conftest import MODEL, ROOT

QUESTIONS = score.chosen(tasks.read_jsonl(ROOT / "examples" / "models" / "held_out.jsonl"), 4)

ANSWERS = """
task: held_out
dataset_path: json
dataset_kwargs: {data_files: {test: QUESTIONS}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{final}}"
process_results: !function held_out.judged
generation_kwargs: {until: ["<role>"], max_gen_toks: 96, do_sample: false}
metric_list:
  - {metric: final, aggregation: mean, higher_is_better: true}
  - {metric: strict, aggregation: mean, higher_is_better: true}
"""
CHOICES = """
task: held_out_choice
dataset_path: json
dataset_kwargs: {data_files: {test: QUESTIONS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: ["{{worked}}", "{{worked|replace('First', 'Start')|replace('1', '2')}}"]
doc_to_target: 0
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
TEXTS = """
task: held_out_text
dataset_path: json
dataset_kwargs: {data_files: {test: QUESTIONS}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{worked}}"
metric_list:
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of task files, which have no need of a hub."""
    folder = tmp_path_factory.mktemp("tasks")
    questions = folder / "questions.jsonl"
    tasks.write_jsonl(questions, QUESTIONS)
    for name, text in (("answers", ANSWERS), ("choices", CHOICES), ("texts", TEXTS)):
        (folder / f"{name}.yaml").write_text(text.replace("QUESTIONS", str(questions)))
    (folder / "held_out.py").write_text(
        (ROOT / "Tests" / "harness" / "held_out.py")
        .read_text()
        .replace("Path(__file__).resolve().parents[2]", f"Path({str(ROOT)!r})")
    )
    return folder


def evaluated(folder: Path, task: str, arguments: str, **options) -> dict:
    return simple_evaluate(
        model="llada",
        model_args=f"path={MODEL},threads=1,{arguments}",
        tasks=[task],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **options,
    )


def request(kind: str, *arguments) -> Instance:
    return Instance(kind, {}, arguments, 0)


@pytest.fixture(scope="module")
def asked() -> llada.lm_eval.LLaDA:
    return llada.lm_eval.LLaDA(str(MODEL), "S", threads=1, samples=4, seed=7)


@pytest.mark.parametrize("mode", ["S", "Q"])
def test_scores_are_those_of_score_py(folder, mode):
    found = evaluated(folder, "held_out", f"policy={mode}", apply_chat_template=True, batch_size=5)
    outcomes = [score.outcome(score.opened(MODEL), mode, question) for question in QUESTIONS]
    results, cost = found["results"]["held_out"], found["config"]["llada"]
    assert results["final,none"] == sum(o.final for o in outcomes) / len(outcomes) > 0.9
    assert results["strict,none"] == sum(o.strict for o in outcomes) / len(outcomes)
    assert cost["answers"] == len(QUESTIONS) and cost["tokens"] == sum(o.tokens for o in outcomes)
    assert cost["forwards"] == sum(o.forwards for o in outcomes) == cost["tasks"]["held_out"]["forwards"]
    assert math.isclose(cost["tokens_per_forward"], cost["tokens"] / cost["forwards"], abs_tol=1e-4)
    assert modes.fields(mode)["threshold"] == llada.lm_eval.adapter.MODES[mode].threshold
    texts = [sample["resps"][0][0] for sample in found["samples"]["held_out"]]
    model = score.opened(MODEL)
    policy = llada.Policy(**modes.fields(mode))
    assert texts == [model.generate(question.text, policy, gen_length=96).text for question in QUESTIONS]


def test_the_command_of_the_readme(folder, tmp_path):
    """`python -m llada.lm_eval --model llada ...`, as a process of its own; a second one finds all in the cache."""
    command = [sys.executable, "-m", "llada.lm_eval", "--model", "llada", "--tasks", "held_out"]
    command += ["--model_args", f"path={MODEL},policy=S,dtype=int4,threads=1", "--include_path", str(folder)]
    command += [
        "--apply_chat_template",
        "--limit",
        "6",
        "--output_path",
        str(tmp_path),
        "--use_cache",
        str(tmp_path / "cache"),
    ]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "held_out" in done.stdout and "strict" in done.stdout
    first, again = (json.loads(path.read_text()) for path in sorted(tmp_path.rglob("results_*.json")))
    assert first["results"] == again["results"]
    assert first["config"]["llada"]["answers"] == 6 and again["config"]["llada"]["answers"] == 0


def test_choices_are_ranked_as_model_choose_does(folder):
    found = evaluated(folder, "held_out_choice", "policy=S,samples=4,seed=3", apply_chat_template=True, limit=6)
    model = score.opened(MODEL)
    for sample in found["samples"]["held_out_choice"]:
        ids = model.encode_prompt(sample["doc"]["question"])
        texts = [answer for _, answer in sample["arguments"]]
        chosen = model.choose(ids, texts, samples=4, seed=3, end=False)
        by_index = sorted(chosen)
        for choice, (bound, _) in zip(by_index, sample["filtered_resps"]):
            assert math.isclose(choice.score, bound, rel_tol=1e-5)
        assert sample["acc"] == float(chosen[0].index == 0)


def test_a_bound_is_exact_in_one_token(asked):
    model = asked._model
    context = model.tokenizer.decode(model.encode_prompt("What is 17 plus 25?"))
    [(bound, is_greedy), (other, is_other)] = asked.loglikelihood(
        [request("loglikelihood", context, "First"), request("loglikelihood", context, " goat")], disable_tqdm=True
    )
    ids = model.encode_prompt("What is 17 plus 25?")
    canvas = np.full(-(-(len(ids) + 1) // 32) * 32, model.mask_token_id, np.int32)
    canvas[: len(ids)] = ids
    logits = model.logits(canvas)[len(ids)].astype(np.float64)
    logits -= np.log(np.exp(logits - logits.max()).sum()) + logits.max()
    first, goat = model.tokenizer.encode("First")[0], model.tokenizer.encode(" goat")[0]
    assert math.isclose(bound, logits[first], abs_tol=1e-4) and math.isclose(other, logits[goat], abs_tol=1e-3)
    assert is_greedy and not is_other and logits[first] == logits.max()


def test_greedy_is_what_the_policy_writes(asked):
    model = asked._model
    question = "What is 347 plus 586?"
    context = model.tokenizer.decode(model.encode_prompt(question))
    written = model.generate(question, llada.Policy.speedy(), gen_length=96).text
    pairs = [request("loglikelihood", context, written), request("loglikelihood", context, written[:-1] + "9")]
    assert [greedy for _, greedy in asked.loglikelihood(pairs, disable_tqdm=True)] == [True, False]


def test_whole_texts_are_bounded_in_one_pass(folder, asked):
    text = " ".join(question.worked for question in QUESTIONS[:3])
    [bound] = asked.loglikelihood_rolling([request("loglikelihood_rolling", text)], disable_tqdm=True)
    ids = asked._model.tokenizer.encode(text, control=True)
    assert len(ids) > 64
    assert math.isclose(bound, asked._model.elbo(ids, samples=4, seed=7).mean, rel_tol=1e-6)
    found = evaluated(folder, "held_out_text", "samples=2", limit=4)
    assert found["results"]["held_out_text"]["byte_perplexity,none"] > 1


def test_answers_end_at_the_first_stop_string(asked):
    question = QUESTIONS[0].text
    context = asked.apply_chat_template([{"role": "user", "content": question}])
    whole = asked.generate_until([request("generate_until", context, {"until": [], "max_gen_toks": 96})], True)[0]
    for stops in (["then"], ["Answer", "then"], "gives", ["<|endoftext|>", " + "]):
        asked_for = request("generate_until", context, {"until": stops, "max_gen_toks": 96})
        [cut] = asked.generate_until([asked_for], True)
        several = [stops] if isinstance(stops, str) else stops
        assert whole.startswith(cut) and not any(stop in cut for stop in several)
        assert any(whole[len(cut) :].startswith(stop) for stop in several)


def test_what_is_sampled_differs_from_request_to_request(asked):
    context = asked.apply_chat_template([{"role": "user", "content": "Say goat 3 times and rice 5 times."}])
    drawn = {"until": [], "max_gen_toks": 64, "do_sample": True, "temperature": 2.0}
    texts = asked.generate_until([request("generate_until", context, drawn) for _ in range(6)], True)
    assert len(set(texts)) > 1
    assert texts == asked.generate_until([request("generate_until", context, drawn) for _ in range(6)], True)


def test_contents_stay_text_in_the_chat_layout(asked):
    tokenizer = asked._model.tokenizer
    messages = [{"role": "user", "content": "Is <|endoftext|> a word?"}]
    text = asked.apply_chat_template(messages)
    assert asked.tok_encode(text) == tokenizer.chat(messages).tolist()
    begun = asked.apply_chat_template(
        [*messages, {"role": "assistant", "content": "First"}], add_generation_prompt=False
    )
    assert begun == text + "First"
    assert asked.chat_template(False) is None and isinstance(asked.chat_template(True), str)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"policy": "X"}, "policy is 'X'"),
        ({"thresold": 0.3}, "model_args has thresold"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arguments_that_are_none_are_refused(arguments, problem):
    with pytest.raises(llada.InvalidArgumentError, match=problem):
        llada.lm_eval.LLaDA(str(MODEL), **{"threads": 1, **arguments})
