"""The decoders in examples/python/policies: against the built-in policies, the published step vectors, and
json.loads."""

from __future__ import annotations

import ast
import json
import sys

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, ROOT, cases, decoder, model, runs

FOLDER = ROOT / "examples" / "python" / "policies"
sys.path.insert(0, str(FOLDER))

import credit  # noqa: E402
import decaying_threshold  # noqa: E402
import hierarchical  # noqa: E402
import joint_threshold  # noqa: E402
import low_confidence  # noqa: E402
import no_stutter  # noqa: E402
import remask_low_confidence  # noqa: E402
import valid_json  # noqa: E402
from common import softmax  # noqa: E402

ENDLESS = 2**31 - 1


class Script:
    """A decoder's stand-in: logits and tokens as given, all of one block."""

    editing_blocks, locked, prompt_length = False, None, 0

    def __init__(self, logits: np.ndarray, tokens: np.ndarray, mask_id: int) -> None:
        self.logits, self.canvas, self.mask_token_id = logits, np.array(tokens, np.int32), mask_id
        self.block_length = self.gen_length = len(tokens)
        self.block_step = 0
        self.ended = False

    @property
    def rows(self) -> llada.Rows:
        states = np.where(self.canvas == self.mask_token_id, llada.State.MASKED, llada.State.DRAFT).astype(np.uint8)
        return llada.Rows(
            np.arange(len(self.canvas)),
            self.canvas.copy(),
            states,
            np.zeros(len(self.canvas), bool),
            self.logits.argmax(-1).astype(np.int32),
            softmax(self.logits).max(-1),
            self.block_step,
            False,
            np.ones(len(self.canvas), bool),
        )

    def row_logits(self) -> np.ndarray:
        return self.logits.copy()

    def end_block(self) -> None:
        self.ended = True

    def step(self, rule) -> np.ndarray:
        """The positions the rule writes, as a vector."""
        rows, edits = self.rows, rule(self)
        written = np.zeros(len(self.canvas), int)
        if isinstance(edits, np.ndarray):
            edits = [(p, rows.predictions[p]) for p in np.flatnonzero(edits)]
        for position, token in edits.items() if isinstance(edits, dict) else edits:
            written[position] = 1
            self.canvas[position] = token
        self.block_step += 1
        return written


# -- Step by step, as published

UNITS = json.loads((CONFORMANCE / "units.json").read_text())["steps"]


def test_units_of_dinfer_and_sglang():
    compared = {"dinfer": 0, "sglang": 0}
    for unit in UNITS:
        logits, tokens, mask = np.array(unit["logits"], np.float32), np.array(unit["x"]), unit["mask_id"]
        for name, expected in unit.items():
            script = Script(logits, tokens, mask)
            if name.startswith("dinfer_threshold"):
                chosen, _ = credit.at_threshold(tokens == mask, logits, float(name.split("_")[2]), mask)
                assert chosen.astype(int).tolist() == expected, name
            elif name.startswith("dinfer_hierarchy"):
                rule = hierarchical.Hierarchical(float(name.split("_")[2]), float(name.split("_low")[1]))
                assert script.step(rule).tolist() == expected, name
            elif name.startswith("dinfer_credit"):
                assert name == "dinfer_credit_trace(logits*(1-0.1k),thr0.6)"
                rule, canvases = credit.Credit(threshold=0.6), [script.canvas.tolist()]
                for k in range(len(expected) - 1):
                    script.logits = logits * np.float32(1 - 0.1 * k)
                    script.step(rule)
                    canvases.append(script.canvas.tolist())
                assert canvases == expected
            elif name.startswith("sglang_joint"):
                rule = joint_threshold.JointThreshold(0.6, 0.4, penalty=float(name.split("_lam")[1]))
                script.step(rule)
                assert script.canvas.tolist() == expected, name
            else:
                continue
            compared[name.split("_")[0]] += 1
    assert compared == {"dinfer": 84, "sglang": 24}


# -- The built-in policies once more


def side_by_side(run: dict, policy: llada.Policy, rule: llada.Rule) -> llada.Decoder:
    """The rule on a policy that would do something else, and the built-in policy: equal in every step."""
    with decoder(run) as theirs:
        ours = decoder(run, policy=policy, rule=rule)
        while not theirs.finished:
            assert not ours.finished and ours.active == theirs.active
            mine, other = ours.step(), theirs.step()
            assert [e[:4] for e in mine.events] == [e[:4] for e in other.events]
            assert all(e.reason == "host" for e in mine.events)
        assert ours.finished and ours.finish_reason == theirs.finish_reason
        assert np.array_equal(ours.canvas, theirs.canvas) and np.array_equal(ours.tokens, theirs.tokens)
        assert (ours.forwards, ours.edits) == (theirs.forwards, theirs.edits)
    return ours


def check_against_reference(run: dict, dec: llada.Decoder) -> None:
    if run["tie_ambiguous"]:
        assert dec.tokens.tolist() == run["tie_lowest_index_output"]
    else:
        assert dec.canvas.tolist() == run["canvas"] and dec.forwards == run["forwards"]


@pytest.mark.parametrize("run", cases("hf20")[::2])
def test_low_confidence_is_the_built_in_policy(run):
    threshold = run["params"]["threshold"]
    policy = llada.Policy.low_confidence(**{**run["params"], "threshold": 2.0})
    with side_by_side(run, policy, low_confidence.LowConfidence(threshold)) as dec:
        check_against_reference(run, dec)


@pytest.mark.parametrize("run", cases("hf21")[::3])
def test_joint_threshold_is_the_built_in_policy(run):
    rule = joint_threshold.JointThreshold(**{"threshold": 0.95, "editing_threshold": 0.9, **run["params"]})
    policy = llada.Policy.joint_threshold(2.0, 2.0, max_post_steps=ENDLESS)
    with side_by_side(run, policy, rule) as dec:
        check_against_reference(run, dec)


def test_samples_hold_what_matters():
    some = [run.values[0] for run in cases("hf20")[::2] + cases("hf21")[::3]]
    assert {run["id"].split("/")[0] for run in some} == set(CHECKPOINTS)
    assert sum(run["eos_early_stop"] for run in some) > 30
    assert sum(run["params"].get("num_to_transfer", 1) > 1 for run in some) > 3
    assert len({run["params"].get("max_post_steps") for run in some}) > 2


@pytest.mark.parametrize("run", cases("sglang_JointThreshold"))
def test_the_penalty_is_the_built_in_one(run):
    names = {
        "edit_threshold": "editing_threshold",
        "max_post_edit_steps": "max_post_steps",
        "penalty_lambda": "penalty",
    }
    rule = joint_threshold.JointThreshold(**{names.get(name, name): value for name, value in run["params"].items()})
    policy = llada.Policy.joint_threshold(2.0, 2.0, max_post_steps=ENDLESS)
    assert side_by_side(run, policy, rule).tokens.tolist() == run["output"]


# -- All of them

RULES = {
    "hierarchical": (hierarchical, hierarchical.Hierarchical),
    "credit": (credit, credit.Credit),
    "decaying_threshold": (decaying_threshold, decaying_threshold.DecayingThreshold),
    "remask_low_confidence": (remask_low_confidence, remask_low_confidence.RemaskLowConfidence),
    "no_stutter": (no_stutter, no_stutter.NoStutter),
    "joint_threshold": (joint_threshold, joint_threshold.JointThreshold),
    "low_confidence": (low_confidence, low_confidence.LowConfidence),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_every_rule_comes_to_its_end(name, checkpoint):
    module, make = RULES[name]
    prompts = [run["prompt"] for run in runs(checkpoint)[:40:10]]
    options = {"policy": module.POLICY, "block_length": 8, "gen_length": 30, "eos_early_stop": False, "rule": make()}
    # With one rule for all: what it keeps belongs to each decoder.
    together = list(model(checkpoint).generate_many(prompts, **options))
    for prompt, answer in zip(prompts, together):
        alone = model(checkpoint).generate(prompt, **options)
        assert answer.tokens.tolist() == alone.tokens.tolist() and answer.forwards == alone.forwards
        assert 1 <= answer.forwards < 400
    with model(checkpoint).decoder(prompts[0], **options) as dec:
        dec.run()
        # A step budget may end a block with masks, and so may the host; none of these do.
        assert not (dec.states == llada.State.MASKED).any()


def test_remasking_masks_again():
    options = {"policy": remask_low_confidence.POLICY, "block_length": 8, "gen_length": 64}
    rule = remask_low_confidence.RemaskLowConfidence(wide=0.0, narrow=0.2)
    with model("gqa_group").decoder([1, 2, 3], rule=rule, **options) as dec:
        again = [event.position for step in dec for event in step.events if event.kind == "remask"]
        assert again and len(again) == len(set(again)) and dec.rule.remasked >= set(again)
    assert not rule.remasked


def test_the_penalty_is_against_stuttering():
    """Two neighbours that want the same token: with the penalty, one gets its second choice."""
    logits = np.zeros((4, 8), np.float32)
    logits[0, 1] = logits[3, 4] = 9
    logits[1, 2] = logits[2, 2] = 5
    logits[1, 3] = 4.5
    plain, other = Script(logits, [7] * 4, 7), Script(logits, [7] * 4, 7)
    plain.step(joint_threshold.JointThreshold())
    other.step(no_stutter.NoStutter(penalty=1.0))
    assert plain.canvas.tolist() == [1, 2, 2, 4]
    assert other.canvas.tolist() == [1, 3, 2, 4]


def test_each_is_less_than_forty_lines_of_code():
    for file in FOLDER.glob("*.py"):
        text = file.read_text()
        tree = ast.parse(text)
        documented = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
        strings = [node.body[0] for node in documented if ast.get_docstring(node) is not None]
        inside = {line for node in strings for line in range(node.lineno, node.end_lineno + 1)}
        code = [
            line
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.strip().startswith("#") and number not in inside
        ]
        assert len(code) < 40 or file.name == "try_all.py", (file.name, len(code))


# -- JSON, whatever the model wants


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def constraint(tiny):
    return valid_json.ValidJson(tiny)


def strictly(text: str) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("gen_length", [2, 3, 7, 33, 64])
@pytest.mark.parametrize("block_length", [8, 32])
@pytest.mark.parametrize(
    "prompt",
    [
        "Ned has a goat and is 34 years old. Write that as JSON with the keys pet, name and age.",
        "What is 17 plus 25?",
        "Do not write JSON. Write [1, 2",
        'Say "\\" and then }{',
        "",
        "null",
        '{"a": {"b": [{"c": "' * 8,
    ],
)
def test_answers_are_json(tiny, constraint, prompt, block_length, gen_length):
    ids = tiny.encode_prompt(prompt, chat=prompt != "null") if prompt else [tiny.eos_token_id]
    lengths = {"block_length": block_length, "gen_length": gen_length}
    answer = tiny.generate(ids, valid_json.POLICY, **lengths, rule=constraint)
    strictly(answer.text)


def test_answers_keep_what_the_model_knows(tiny, constraint):
    question = "Ned has a goat and is 34 years old. Write that as JSON with the keys pet, name and age."
    ids = np.append(
        tiny.encode_prompt(question), tiny.tokenizer.encode("Here the keys are pet, then name, then age. Answer:")
    )
    answer = tiny.generate(ids, valid_json.POLICY, gen_length=64, rule=constraint)
    assert strictly(answer.text) == {"pet": "goat", "name": "Ned", "age": 34}
    assert answer.tpf > 2


@pytest.mark.parametrize("seed", range(20))
def test_json_of_noise(tiny, constraint, seed):
    """Logits that mean nothing, in favour of whatever breaks things."""
    random = np.random.default_rng(seed)
    length = int(random.integers(2, 60))
    bias = np.zeros(tiny.vocab_size, np.float32)
    for text in random.choice(list('{}[]":,0-.etfn\\ \n'), 6):
        bias[tiny.tokenizer.encode(text)] += 6
    script = Script(np.empty(0), [tiny.mask_token_id] * length, tiny.mask_token_id)
    steps = 0
    while (script.canvas == tiny.mask_token_id).any():
        script.logits = (random.normal(size=(length, tiny.vocab_size)) * 3 + bias).astype(np.float32)
        script.step(constraint)
        steps += 1
        assert steps <= length
    strictly(tiny.tokenizer.decode(script.canvas, skip_control=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{}"),
        ("{", "}"),
        ('{"', '":0}'),
        ('{"a"', ":0}"),
        ('{"a":', "0}"),
        ('{"a": "x', '"}'),
        ('{"a": 1', "}"),
        ('{"a": [', "]}"),
        ('{"a": [1,', "0]}"),
        ('{"a": 1,', '"":0}'),
        ('{"a": tr', "ue}"),
        ('{"a": -', "0}"),
        ('{"a": {"}', '":0}}'),
        ('{"a": 1}', ""),
        ('{"a": 1}}', None),
        ("[", None),
        ("1", None),
        ('{"a": 01', None),
        ('{"a" "', None),
        ('{"a": NaN', None),
        ("{,", None),
        ('{"a": Infinity', None),
    ],
)
def test_endings(text, expected):
    assert valid_json.ending(text, 9) == expected
    if expected is not None:
        strictly(text + expected)
    if expected:
        assert valid_json.ending(text, len(expected) - 1) is None
