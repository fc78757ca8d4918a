"""Many prompts over a cluster of two nodes: what one process gives, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pyarrow
import pytest
import ray

import llada
import llada.ray
from conftest import ROOT

MODELS = ROOT / "examples" / "models"
MODEL = str(MODELS / "tiny-2.1")
POLICY = llada.Policy.speedy()
QUESTIONS = [json.loads(line) for line in (MODELS / "held_out.jsonl").read_text().splitlines()][::60][:24]
SAMPLED = llada.Policy.joint_threshold(threshold=0.5, editing_threshold=0.5, temperature=1.5)


@pytest.fixture(scope="module")
def model():
    with llada.Model.load(MODEL, threads=1) as opened:
        yield opened


def pool(size: int = 2) -> dict:
    return {"compute": ray.data.ActorPoolStrategy(size=size), "num_cpus": 2, "batch_format": "pyarrow"}


class Where(llada.ray.Generator):
    """Says on which node it was."""

    def __call__(self, batch):
        table = super().__call__(batch)
        time.sleep(0.2)  # so that there is work for the other one
        node = ray.get_runtime_context().get_node_id()
        return table.append_column("node", pyarrow.array([node] * len(table)))


def test_two_nodes_answer_as_one_process(cluster, model):
    data = ray.data.from_items([{"number": n, **row} for n, row in enumerate(QUESTIONS)], override_num_blocks=8)
    options = {"policy": POLICY, "gen_length": 96, "step_maps": True, "log_probs": True, "in_flight": 3}
    answers = data.map_batches(
        Where, fn_constructor_kwargs={"model": MODEL, "prompt": "question", **options}, batch_size=3, **pool()
    )
    rows = sorted(answers.take_all(), key=lambda row: row["number"])
    assert [row["number"] for row in rows] == list(range(len(QUESTIONS)))
    assert len({row["node"] for row in rows}) == 2
    for question, row in zip(QUESTIONS, rows):
        alone = model.rollouts(question["question"], 1, POLICY, gen_length=96)
        answer = alone.generations[0]
        assert row["final"] == question["final"] and row["error"] is None
        assert (row["answer"], row["finish_reason"]) == (answer.text, answer.finish_reason)
        assert (row["forwards"], row["tpf"]) == (answer.forwards, answer.tpf)
        assert np.array_equal(row["tokens"], answer.tokens)
        place = slice(alone.prompt_length, alone.lengths[0])
        assert np.array_equal(row["step_map"], alone.step_maps[0, place])
        assert np.asarray(row["log_probs"], np.float32).tobytes() == alone.log_probs[0, place].tobytes()


def test_parameters_and_bad_prompts(cluster, model, tmp_path):
    rows = [
        {"prompt": "What is 17 plus 25?", "seed": 3, "temperature": 1.0, "gen_length": 32},
        {"prompt": "What is 17 plus 25?", "seed": 4, "temperature": 1.0, "gen_length": None},
        {"prompt": "What is 38 plus 46?", "seed": None, "temperature": -1.0, "gen_length": 64},
        {"prompt": "<|mask|>", "seed": None, "temperature": None, "gen_length": -5},
        {"prompt": "What is 38 plus 46?", "seed": None, "temperature": None, "gen_length": None},
    ]
    made = ray.data.from_items(rows, override_num_blocks=1).map_batches(
        llada.ray.Generator,
        fn_constructor_kwargs={
            "model": MODEL,
            "policy": POLICY,
            "parameters": ("seed", "temperature", "gen_length"),
            "gen_length": 48,
            "prefix_cache": 1 << 24,
        },
        **pool(1),
    )
    made.write_parquet(str(tmp_path))
    found = ray.data.read_parquet(str(tmp_path)).take_all()
    sampled = POLICY.replace(temperature=1.0)
    expected = [
        model.generate(rows[0]["prompt"], sampled.replace(seed=3), gen_length=32),
        model.generate(rows[1]["prompt"], sampled.replace(seed=4), gen_length=48),
        "InvalidArgumentError: ",
        "InvalidArgumentError: ",
        model.generate(rows[4]["prompt"], POLICY, gen_length=48),
    ]
    for row, right in zip(found, expected):
        if isinstance(right, str):
            assert row["error"].startswith(right) and row["answer"] is None and row["tokens"] is None
        else:
            assert row["error"] is None and row["answer"] == right.text and row["forwards"] == right.forwards


def test_conversations_and_ids(cluster, model):
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 17 plus 25?"}]
    ids = model.encode_prompt("What is 17 plus 25?").tolist()
    for prompts in ([conversation, conversation[1:]], [ids, ids[:7]]):
        data = ray.data.from_items([{"prompt": prompt} for prompt in prompts], override_num_blocks=1)
        for named in ({"batch_format": "pyarrow"}, {"batch_format": "numpy"}, {"batch_format": "pandas"}):
            rows = data.map_batches(
                llada.ray.Generator,
                fn_constructor_kwargs={"model": MODEL, "policy": POLICY, "gen_length": 32},
                **{**pool(1), **named},
            ).take_all()
            for row, prompt in zip(rows, prompts):
                assert row["error"] is None
                assert row["answer"] == model.generate(prompt, POLICY, gen_length=32).text


class Killed(llada.ray.Generator):
    """An actor that dies in its first batch, once."""

    def __init__(self, model, *, killed, **options):
        super().__init__(model, **options)
        self._killed = killed

    def __call__(self, batch):
        try:
            os.close(os.open(self._killed, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().__call__(batch)
        return os.kill(os.getpid(), signal.SIGKILL)


def test_an_actor_that_dies(cluster, model, tmp_path):
    data = ray.data.from_items([{"number": n, **row} for n, row in enumerate(QUESTIONS[:8])], override_num_blocks=4)
    rows = data.map_batches(
        Killed,
        fn_constructor_kwargs={
            "model": MODEL,
            "prompt": "question",
            "policy": POLICY,
            "gen_length": 64,
            "killed": str(tmp_path / "killed"),
        },
        batch_size=2,
        **pool(),
    ).take_all()
    assert (tmp_path / "killed").exists()
    rows.sort(key=lambda row: row["number"])
    assert [row["answer"] for row in rows] == [
        model.generate(row["question"], POLICY, gen_length=64).text for row in QUESTIONS[:8]
    ]


def right(row: dict, generation: llada.Generation) -> float:
    return float(row["final"] in generation.text)


def test_rollouts_with_weights_of_each_round(cluster):
    data = ray.data.from_items(
        [{"number": n, "seeds": [n, n + 100, n + 200], **row} for n, row in enumerate(QUESTIONS[:6])],
        override_num_blocks=3,
    )
    seen = []
    for name in "tiny-2.1", "tiny-2.1-rl":
        rows = data.map_batches(
            llada.ray.RolloutWorker,
            fn_constructor_kwargs={
                "model": str(MODELS / name),
                "prompt": "question",
                "policy": SAMPLED,
                "seeds": "seeds",
                "reward": right,
                "gen_length": 64,
            },
            batch_size=2,
            **pool(),
        ).take_all()
        rows.sort(key=lambda row: row["number"])
        with llada.Model.load(MODELS / name, threads=1) as own:
            for row in rows:
                assert row["error"] is None
                alone = own.rollouts(
                    row["question"],
                    policy=SAMPLED,
                    seeds=[int(seed) for seed in row["seeds"]],
                    reward=lambda generation, row=row: right(row, generation),
                    gen_length=64,
                )
                for field in "tokens", "lengths", "step_maps", "log_probs", "rewards", "advantages":
                    assert getattr(row["rollouts"], field).tobytes() == getattr(alone, field).tobytes(), field
                assert [g.text for g in row["rollouts"].generations] == [g.text for g in alone.generations]
        seen.append([row["rollouts"] for row in rows])
    assert any(before.tokens.tobytes() != after.tokens.tobytes() for before, after in zip(*seen))
    with llada.Model.load(MODELS / "tiny-2.1") as old, llada.Model.load(MODELS / "tiny-2.1-rl") as new:
        group = seen[0][0]
        gain = llada.ebpo(new, group.noised([1, 2]), old, group.advantages)
        assert np.isfinite(gain.ratios).all() and (gain.ratios != 1).any()


def test_bad_rollouts(cluster):
    data = ray.data.from_items([{"prompt": "What is 1 plus 1?"}, {"prompt": ""}], override_num_blocks=1)

    def reward(row, generation):
        return 1.0 if row["prompt"] else float("nan")

    rows = data.map_batches(
        llada.ray.RolloutWorker,
        fn_constructor_kwargs={"model": MODEL, "policy": SAMPLED, "n": 2, "reward": reward, "gen_length": 32},
        **pool(1),
    ).take_all()
    assert len(rows[0]["rollouts"]) == 2 and rows[0]["error"] is None
    assert rows[1]["rollouts"] is None and rows[1]["error"].startswith("InvalidArgumentError: reward is nan")


# -- Without a cluster


def test_what_is_refused():
    with pytest.raises(TypeError, match="Generator.*'gen_len'"):
        llada.ray.Generator(MODEL, gen_len=5)
    for parameters in (["temperatur"], "seed", ["kind"]):
        with pytest.raises(ValueError, match="expected names among block_length"):
            llada.ray.Generator(MODEL, parameters=parameters)
    generator = llada.ray.Generator(MODEL, parameters=["seed"])
    for columns, words in (
        (["seed"], "there is no column 'prompt'"),
        (["prompt"], "there is no column 'seed'"),
        (["prompt", "seed", "answer"], "there is a column 'answer' already"),
    ):
        with pytest.raises(ValueError, match=words):
            generator(pyarrow.table({name: [1] for name in columns}))
    empty = generator(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string()), "seed": []}))
    assert len(empty) == 0 and empty.schema.field("tokens").type == pyarrow.list_(pyarrow.int32())
    raising = llada.ray.Generator(MODEL, on_error="raise")
    with pytest.raises(ValueError, match=r"prompts\[1\]"):
        raising(pyarrow.table({"prompt": [[1, 2], [1, -4]]}))


def test_threads_are_the_cpus_of_the_actor(cluster):
    class Threads(llada.ray.Generator):
        def __call__(self, batch):
            return {"threads": np.array([self._model.info.threads])}

    for cpus in 1, 2:
        rows = (
            ray.data.range(1)
            .map_batches(Threads, fn_constructor_kwargs={"model": MODEL}, **{**pool(1), "num_cpus": cpus})
            .take_all()
        )
        assert rows == [{"threads": cpus}]
