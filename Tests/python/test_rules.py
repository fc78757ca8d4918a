"""What a decoding rule may look at, return and do; whose its state is; and the rows of a forward as arrays."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, model
from llada import Policy, State

PROMPT = [1, 2, 3, 4, 5]


def start(name="gqa_group", prompt=PROMPT, block_length=8, gen_length=24, **options):
    options = {"block_length": block_length, "gen_length": gen_length, "eos_early_stop": False, **options}
    return model(name).decoder(prompt, **options)


# -- The rows of a forward


@pytest.mark.parametrize(
    "policy", [Policy.speedy(mbe_window=2), Policy.low_confidence(), Policy.speedy(temperature=1.0)]
)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_rows_are_what_the_whole_canvas_says(name, policy):
    editing = 0
    with start(name, policy=policy) as dec:
        while not dec.finished:
            dec.forward()
            if dec.masked.size > 2:
                dec.lock(dec.masked[1])
            rows = dec.rows
            assert rows.positions.tolist() == list(dec.active)
            assert rows.tokens.tolist() == dec.canvas[rows.positions].tolist()
            assert rows.states.tolist() == dec.states[rows.positions].tolist()
            assert rows.predictions.tolist() == dec.predictions[rows.positions].tolist()
            assert rows.confidences.tolist() == dec.confidences[rows.positions].tolist()
            assert set(rows.positions[rows.locked].tolist()) == dec.locked & set(dec.active)
            assert rows.positions[rows.masked].tolist() == dec.masked.tolist()
            assert rows.positions[rows.drafts].tolist() == dec.drafts.tolist()
            assert (rows.block_step, rows.editing_blocks) == (dec.block_step, dec.editing_blocks)
            assert not any(array.flags.writeable for array in rows[:6])
            editing += rows.editing_blocks
            dec.step()
    assert (editing > 0) == (policy.mbe_window > 1)


def test_candidates_and_logits_of_all_positions():
    with start(policy=Policy.speedy(penalty_lambda=1.5)) as dec:
        for _ in range(4):
            dec.forward()
            positions = dec.rows.positions
            dec.ban(int(dec.rows.predictions[-1]), positions[-1])
            found, logits = dec.row_candidates(7), dec.row_logits()
            assert found.tokens.dtype == np.int32 and found.logits.dtype == found.probabilities.dtype == np.float32
            assert found.tokens.shape == found.logits.shape == found.probabilities.shape == (8, 7)
            assert logits.shape == (8, 128) and logits.dtype == np.float32 and logits.flags.writeable
            for row, position in enumerate(positions):
                assert list(zip(*(values[row].tolist() for values in found))) == dec.candidates(position, 7)
                assert np.array_equal(logits[row], dec.logits(position))
            assert found.tokens[:, 0].tolist() == dec.rows.predictions.tolist()
            assert np.allclose(found.probabilities[:, 0], dec.rows.confidences, rtol=1e-5)
            dec.step()
        dec.forward()
        assert dec.row_candidates(0).tokens.shape == (8, 0)
        everything = dec.row_candidates(10**9)
        assert everything.tokens.shape == (8, 128)
        assert sorted(everything.tokens[0].tolist()) == list(range(128))
        for token in range(100):
            dec.ban(token)
        few = llada.Candidates(*(values[:-1] for values in dec.row_candidates(40)))  # the last has bans of its own
        assert (few.tokens[:, :28] >= 100).all() and (few.tokens[:, 28:] == -1).all()
        assert (few.probabilities[:, 28:] == 0).all() and (few.logits[:, 28:] == -np.inf).all()


def test_nothing_to_see_before_a_forward():
    with start() as dec:
        for look in (lambda: dec.rows, dec.row_candidates, dec.row_logits):
            with pytest.raises(llada.StateError, match="forward"):
                look()
        dec.forward()
        with pytest.raises(llada.InvalidArgumentError, match="k"):
            dec.row_candidates(-1)
        with pytest.raises(TypeError, match="k"):
            dec.row_candidates("5")


def test_the_step_map_is_what_the_events_say():
    written = np.zeros(32, np.int32)
    with start(policy=Policy.speedy(mbe_window=2), gen_length=27) as dec:
        assert not dec.step_map.any()
        for step in dec:
            for event in step.events:
                written[event.position] = 0 if event.kind == "remask" else step.forwards
            assert dec.step_map.dtype == np.int32 and np.array_equal(dec.step_map, written)
        assert (written[5:] > 0).all() and (written[:5] == 0).all() and len(set(written[5:])) > 3


# -- What a rule returns


@pytest.mark.parametrize("form", ["bool", "positions", "pairs", "dict", "array of pairs", "edits"])
def test_forms_of_edits(form):
    """One decision, said in six ways."""

    def rule(dec):
        rows = dec.rows
        chosen = rows.masked & (rows.confidences >= rows.confidences[rows.masked].max(initial=0))
        positions, tokens = rows.positions[chosen], rows.predictions[chosen]
        return {
            "bool": lambda: chosen,
            "positions": lambda: positions,
            "pairs": lambda: zip(positions, tokens),
            "dict": lambda: dict(zip(positions, tokens)),
            "array of pairs": lambda: np.stack([positions, tokens], -1),
            "edits": lambda: [llada.Edit(p, t, 0.0, "host") for p, t in zip(positions, tokens)],
        }[form]()

    # The same, by the policy itself: the surest mask of each step.
    options = {"block_length": 8, "gen_length": 24, "eos_early_stop": False}
    plain = model("gqa_group").generate(PROMPT, Policy.low_confidence(2.0), **options)
    ruled = model("gqa_group").generate(PROMPT, Policy.low_confidence(0.0), **options, rule=rule)
    assert ruled.tokens.tolist() == plain.tokens.tolist() and ruled.forwards == plain.forwards


def test_arrays_of_bool_are_as_long_as_the_rows():
    with start() as dec:
        dec.forward()
        for wrong in (np.ones(7, bool), np.ones(32, bool), np.ones((8, 1), bool)):
            with pytest.raises(llada.InvalidArgumentError, match="bool"):
                dec.propose(wrong)
        with pytest.raises(TypeError, match="position"):
            dec.propose([True] * 8)  # a list of positions, that are none
        assert dec.propose(np.zeros(8, bool)) == []
        assert [edit.position for edit in dec.propose(np.array([False] * 7 + [True]))] == [7]


def test_unmask_replace_remask_lock():
    """All four, from one rule."""

    def rule(dec):
        rows = dec.rows
        if rows.block_step == 0:
            dec.lock(rows.positions[-1])
            return rows.masked & ~dec.rows.locked
        if rows.block_step == 1:
            replaced, masked, *_ = rows.positions[rows.drafts]
            return {replaced: 11, masked: dec.mask_token_id}
        dec.end_block()
        return []

    with start(rule=rule, gen_length=11) as dec:
        kinds = [{event.kind for event in step.events} for step in dec]
        assert kinds == [{"unmask"}, {"replace", "remask"}, set()] * 2
        assert dec.canvas[[5, 6, 7, 8, 9, 15]].tolist() == [11, 127, 127, 11, 127, 127]
        assert dec.locked == {7, 15} and dec.states[7] == State.MASKED


# -- Who ends a block


def test_a_rule_keeps_a_block_open():
    def look_twice(dec):
        dec.end_block(dec.block_step == 5)
        return

    with start(policy=Policy.low_confidence(), rule=look_twice) as dec:
        assert [step.active.start for step in dec] == [start for start in (0, 8, 16, 24) for _ in range(6)]


def test_end_block_is_for_one_apply():
    with start(policy=Policy.low_confidence(2.0)) as dec:
        dec.end_block()
        dec.step()
        assert dec.active.start == 8 and (dec.states[:8] == State.MASKED).sum() == 2
        dec.step()
        dec.end_block(False)
        dec.end_block(None)
        dec.end_block(True)
        dec.end_block(None)  # the last word counts
        dec.step()
        assert dec.active.start == 8
        with pytest.raises(TypeError, match="done"):
            dec.end_block(2.5)
        dec.run()


# -- Whose state it is


class Counting:
    """Fills one mask a step and knows how often it was asked."""

    def __init__(self):
        self.calls, self.positions = 0, []

    def __call__(self, dec):
        self.calls += 1
        self.positions.append(int(dec.masked[0]))
        return dec.masked[:1]


OPTIONS = {"policy": Policy.low_confidence(), "block_length": 8, "gen_length": 11, "eos_early_stop": False}


def test_each_decoder_has_a_rule_of_its_own():
    rule = Counting()
    decoders = [model("gqa_group").decoder(PROMPT, **OPTIONS, rule=rule) for _ in range(2)]
    decoders[0].run()
    for _ in range(3):
        decoders[1].step()
    assert decoders[0].rule.calls == 11 and decoders[1].rule.calls == 3 and rule.calls == 0
    fork = decoders[1].fork()
    assert fork.rule is not decoders[1].rule and fork.rule.positions == [5, 6, 7]
    fork.run()
    assert (fork.rule.calls, decoders[1].rule.calls, len(decoders[1].rule.positions)) == (11, 3, 3)
    decoders[1].rule = None
    assert decoders[1].rule is None and fork.rule is not None
    assert list(model("gqa_group").generate_many([PROMPT] * 3, **OPTIONS, rule=rule)) and rule.calls == 0


def test_functions_and_methods_are_not_copied():
    counting = Counting()
    model("gqa_group").generate(PROMPT, **OPTIONS, rule=counting.__call__)
    assert counting.calls == 11

    def rule(dec):
        return None

    with start(rule=rule) as dec:
        assert dec.rule is rule and dec.fork().rule is rule


def test_rules_may_hold_models():
    class Held(Counting):
        def __init__(self, held):
            super().__init__()
            self.held = held

    with start(policy=Policy.low_confidence(), rule=Held(model("gqa_group"))) as dec:
        dec.step()
        assert dec.rule.held is model("gqa_group")
    assert copy.deepcopy(model("gqa_group")) is model("gqa_group")


def test_what_is_no_rule():
    with pytest.raises(TypeError, match="rule"):
        start(rule=5)
    with start() as dec:
        with pytest.raises(TypeError, match="rule"):
            dec.rule = Policy.speedy()
        uncopiable = Counting()
        uncopiable.lock = threading.Lock()
        with pytest.raises(TypeError, match="cannot be copied.*lock"):
            dec.rule = uncopiable
        assert dec.rule is None
        dec.run()


def test_an_exception_leaves_the_step_to_be_done_again():
    class Failing(Counting):
        def __call__(self, dec):
            edits = super().__call__(dec)
            if self.calls == 2:
                raise ZeroDivisionError
            return edits

    with model("gqa_group").decoder(PROMPT, **OPTIONS, rule=Failing()) as dec:
        with pytest.raises(ZeroDivisionError):
            dec.run()
        assert dec.forwards == 2 and (dec.states == State.MASKED).sum() == 10
        with pytest.raises(TypeError, match="position"):
            dec.fork().propose([None])
        dec.run()  # asks the rule once more
        assert dec.forwards == 11 and dec.rule.calls == 12


def test_a_restored_decoder_takes_a_rule():
    """In the midst of a step whose proposal is there: that one stands, and the rule comes with the next."""
    with model("gqa_group").decoder(PROMPT, **OPTIONS, rule=Counting()) as dec:
        dec.forward()
        dec.propose()
        restored = model("gqa_group").restore(dec.to_bytes(), rule=dec.rule)
        assert restored.rule.calls == 1 and restored.rule is not dec.rule
        assert restored.run().tokens.tolist() == dec.run().tokens.tolist()
        assert restored.rule.calls == dec.rule.calls == 11


# -- In the library itself


def test_a_rule_through_c(gqa):
    from ctypes import byref

    from llada import _abi

    asked = []

    @_abi.Rule
    def rule(handle, user):
        active = _abi.Active()
        assert _abi.lib.llada_decoder_active(handle, byref(active), None) == _abi.OK
        asked.append(active.first)
        place = next((i for i in range(active.count) if active.states[i] == State.MASKED), None)
        edits = [] if place is None else [_abi.Edit(active.first + place, active.predictions[place], 0.0)]
        array = (_abi.Edit * len(edits))(*edits)
        return int(_abi.lib.llada_decoder_set_proposal(handle, array, len(edits), None) != _abi.OK)

    expected = gqa.generate(PROMPT, **OPTIONS, rule=lambda dec: dec.masked[:1])
    with gqa.decoder(PROMPT, **OPTIONS) as dec:
        assert _abi.lib.llada_decoder_set_rule(dec._calls._handle, rule, None, None) == _abi.OK
        assert _abi.lib.llada_decoder_run(dec._calls._handle, _abi.StepCallback(), None, None) == _abi.OK
        assert len(asked) == 11 and dec.tokens.tolist() == expected.tokens.tolist()


@pytest.mark.parametrize("answer", ["abc", 3, True, [()], [(5,)]])
def test_what_is_no_edit_is_refused_in_words(answer):
    with start(rule=lambda dec: answer) as dec, pytest.raises(TypeError, match="must be (positions|a position)"):
        dec.step()


def test_a_rule_cannot_step_its_decoder_but_a_fork():
    with start(rule=lambda dec: dec.step()) as dec, pytest.raises(llada.BusyError, match="asking its rule"):
        dec.step()

    def look_ahead(dec):
        with dec.fork() as ahead:
            ahead.rule = None
            ahead.run()
            texts.append(ahead.tokens.tolist())

    texts = []
    with start(policy=Policy.speedy()) as plain, start(policy=Policy.speedy(), rule=look_ahead) as dec:
        assert dec.run().tokens.tolist() == plain.run().tokens.tolist()
        assert texts and all(text == plain.tokens.tolist() for text in texts)
