"""Looking and interfering: what the step API promises."""

from __future__ import annotations

import numpy as np
import pytest

import llada
from conftest import cases, decoder, model
from llada import STOP, Policy, State

PROMPT = [1, 2, 3, 4, 5]


def start(name="gqa_group", prompt=PROMPT, block_length=8, gen_length=24, **options):
    options = {"block_length": block_length, "gen_length": gen_length, "eos_early_stop": False, **options}
    return model(name).decoder(prompt, **options)


# -- The three ways to run are one


@pytest.mark.parametrize(
    "chosen",
    [
        Policy.speedy(),
        Policy.quality(),
        Policy.quality(mbe_window=2),
        Policy.speedy(mbe_window=3, mbe_rounds=2),
        Policy.low_confidence(),
        Policy.speedy(temperature=0.8, top_k=20, top_p=0.9, seed=7),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["gqa_group", "mini_like"])
def test_ways_to_run(name, chosen):
    whole = model(name).generate(PROMPT, chosen, block_length=8, gen_length=32, eos_early_stop=False)

    def check(dec):
        result = dec.result
        assert dec.finished and dec.phase == "finished"
        assert result.tokens.tolist() == whole.tokens.tolist()
        assert (result.forwards, result.edits, result.finish_reason) == (
            whole.forwards,
            whole.edits,
            whole.finish_reason,
        )

    with start(name, policy=chosen, gen_length=32) as dec:
        for _ in dec:
            pass
        check(dec)
    with start(name, policy=chosen, gen_length=32) as dec:
        while not dec.finished:
            assert dec.phase == "ready"
            dec.forward()
            assert dec.phase == "forwarded"
            dec.propose()
            assert dec.phase == "proposed"
            dec.apply()
        check(dec)
    with start(name, policy=chosen, gen_length=32) as dec:
        blocks = 0
        while not dec.finished:
            dec.run_block()
            blocks += 1
        check(dec)
        assert blocks == 5  # ceil((5 + 32) / 8)
    with start(name, policy=chosen, gen_length=32, rule=lambda dec: None) as dec:
        check(dec.run())


def test_a_step_can_be_begun_by_hand_and_finished():
    with start() as a, start() as b:
        a.forward()
        a.propose()
        first, second = a.step(), b.step()
        assert first == second
        assert a.phase == "ready"


# -- Events


@pytest.mark.parametrize("chosen", [Policy.speedy(), Policy.quality(mbe_window=2), Policy.low_confidence()], ids=repr)
def test_events_tell_the_whole_story(chosen):
    """Replaying the events on the first canvas gives each canvas after it."""
    with start("mini_like", policy=chosen, gen_length=40) as dec:
        canvas, edits = dec.canvas.copy(), 0
        assert canvas[:5].tolist() == PROMPT
        assert set(canvas[5:].tolist()) == {model("mini_like").mask_token_id}
        for number, step in enumerate(dec, 1):
            assert step.forwards == dec.forwards == number
            for event in step.events:
                assert event.position in step.active
                assert canvas[event.position] == event.old != event.new
                was_mask = event.old == model("mini_like").mask_token_id
                assert event.kind == ("unmask" if was_mask else "replace")
                assert event.reason in (("threshold", "fallback") if was_mask else ("edit", "post_edit", "block_edit"))
                assert 0.0 < event.confidence <= 1.0
                edits += event.kind == "replace"
                canvas[event.position] = event.new
            assert canvas.tolist() == dec.canvas.tolist()
            assert dec.edits == edits
        assert dec.tokens.tolist() == canvas[5:45].tolist()
        assert dec.finish_reason == "length"
        assert (dec.states[5:] == State.SETTLED).all()


def test_arrays_are_snapshots():
    with start() as dec:
        dec.forward()
        before = dec.canvas, dec.states, dec.predictions, dec.confidences, dec.logits(6)
        copies = [array.copy() for array in before]
        for array in before:
            with pytest.raises(ValueError):
                array[0] = 1
        dec.run()
        assert dec.canvas.tolist() != before[0].tolist()
    for array, copy in zip(before, copies):
        assert np.array_equal(array, copy)
        assert array.dtype == copy.dtype


# -- Looking


def test_what_a_forward_shows():
    with start("mini_like") as dec:
        mask = model("mini_like").mask_token_id
        assert dec.active == range(8) and dec.masked.tolist() == [5, 6, 7] and dec.drafts.tolist() == []
        assert dec.states.tolist() == [State.PROMPT] * 5 + [State.MASKED] * 27
        dec.forward()
        assert dec.forwards == 1
        for position in dec.masked:
            logits = dec.logits(position)
            assert logits.shape == (model("mini_like").vocab_size,) and logits.dtype == np.float32
            best = dec.candidates(position, k=4)
            order = np.lexsort((np.arange(len(logits)), -logits))[:4]
            assert [c.token for c in best] == order.tolist()
            assert [c.logit for c in best] == logits[order].tolist()
            softmax = np.exp(logits - logits.max(), dtype=np.float64)
            softmax /= softmax.sum()
            assert np.allclose([c.probability for c in best], softmax[order], rtol=1e-5)
            assert dec.predictions[position] == best[0].token
            assert dec.confidences[position] == pytest.approx(best[0].probability, rel=1e-6)
        assert (dec.predictions[8:] == -1).all() and (dec.confidences[8:] == 0).all()
        assert len(dec.candidates(6, k=10**12)) == model("mini_like").vocab_size
        assert dec.candidates(6, k=0) == []
        assert (dec.canvas[dec.masked] == mask).all()


def test_the_decoder_sees_what_logits_shows():
    with start("mini_like") as dec:
        for _ in range(6):
            dec.forward()
            whole = model("mini_like").logits(dec.canvas[: dec.active.stop], block_length=8)
            for position in dec.active:
                assert np.array_equal(dec.logits(position), whole[position])
            dec.propose()
            dec.apply()


def test_revisiting_looks_both_ways():
    """Multi-block editing runs its window as one block: the older one sees the newer."""
    with start("mini_like", policy=Policy.quality(mbe_window=2), gen_length=27) as dec:
        windows = []
        while not dec.finished:
            dec.forward()
            if dec.editing_blocks:
                windows.append(dec.active)
                if dec.active == range(16):
                    whole = model("mini_like").logits(dec.canvas[:16], block_length=16)
                    assert all(np.array_equal(dec.logits(p), whole[p]) for p in dec.active)
            dec.propose()
            dec.apply()
        # The first block alone is no window.
        assert windows == [range(16), range(8, 24), range(16, 32)]


# -- Interfering


def test_propose_takes_many_forms():
    with start() as dec:
        dec.forward()
        predicted = dec.predictions
        by_policy = dec.propose()
        assert by_policy and all(edit.reason in ("threshold", "fallback") for edit in by_policy)
        expected = [(6, int(predicted[6])), (7, int(predicted[7]))]
        for form in (
            [6, 7],
            np.array([6, 7]),
            expected,
            dict(expected),
            (pair for pair in expected),
            np.array(expected),
            [llada.Edit(p, t, 0.5, "threshold") for p, t in expected],
        ):
            proposal = dec.propose(form)
            assert [edit[:2] for edit in proposal] == expected
            assert {edit.reason for edit in proposal} == {"host"}
            assert proposal == dec.proposal
            assert [edit.confidence for edit in proposal] == dec.confidences[[6, 7]].tolist()
        dec.proposal = {5: 42}
        assert dec.proposal == [(5, 42, 0.0, "host", "write")]
        events = dec.apply()
        assert events == [(5, "unmask", model("gqa_group").mask_token_id, 42, 0.0, "host", 5)]
        assert dec.canvas[5] == 42


def test_propose_without_the_policy():
    with start() as dec:
        dec.forward()
        assert dec.propose([5]) and dec.phase == "proposed"
        assert [event.position for event in dec.apply()] == [5]


def test_a_proposal_may_mask_again():
    mask = model("gqa_group").mask_token_id
    with start() as dec:
        dec.forward()
        dec.propose([5, 6])
        dec.apply()
        written = int(dec.canvas[5])
        dec.forward()
        dec.propose([(5, mask)])
        assert [e[:4] for e in dec.apply()] == [(5, "remask", written, mask)]
        assert dec.states[5] == State.MASKED and 5 in dec.masked


def test_set_mask_and_their_events():
    mask = model("gqa_group").mask_token_id
    with start() as dec:
        dec.set(6, 33)
        assert dec.canvas[6] == 33 and dec.states[6] == State.DRAFT
        dec.set(20, 44)  # a block to come: a draft that waits
        assert dec.states[20] == State.DRAFT
        dec.mask(6)
        assert dec.canvas[6] == mask and dec.states[6] == State.MASKED
        dec.set(6, 35)
        dec.lock(6)
        dec.lock(20)
        step = dec.step()
        ours = [event for event in step.events if event.reason == "host"]
        assert (6, 35) in [(event.position, event.new) for event in ours]
        dec.run()
        assert dec.canvas[6] == 35 and dec.canvas[20] == 44


def test_locks():
    with start() as dec:
        dec.lock(5)
        assert dec.locked == {5}
        assert dec.masked.tolist() == [6, 7]
        dec.forward()
        assert 5 not in [edit.position for edit in dec.propose()]
        with pytest.raises(llada.InvalidArgumentError):
            dec.propose([5])
        dec.unlock(5)
        assert not dec.locked
        assert [edit.position for edit in dec.propose([5])] == [5]


def test_bans():
    with start() as dec:
        dec.forward()
        first = int(dec.predictions[6])
        second = dec.candidates(6, k=2)[1]
        raw = dec.logits(6)
        dec.ban(first, 6)
        assert dec.predictions[6] == second.token
        assert first not in [c.token for c in dec.candidates(6, k=20)]
        assert np.array_equal(dec.logits(6), raw)  # as the model gave them
        dec.unban(first, 6)
        assert dec.predictions[6] == first
        for token in {int(token) for token in dec.predictions[dec.masked]}:
            dec.ban(token)
            assert token not in dec.predictions[dec.masked]


def test_a_banned_token_is_not_generated():
    free = model("gqa_group").generate(PROMPT, block_length=8, gen_length=24, eos_early_stop=False)
    common = int(np.bincount(free.tokens).argmax())
    with start() as dec:
        dec.ban(common)
        assert common not in dec.run().tokens


def test_changing_the_past_is_remembered_rightly():
    """A token set in a finished block: what follows is what a decoder sees that never knew another."""
    with start("mini_like", policy=Policy.low_confidence(), gen_length=27) as dec:
        dec.run_block()
        dec.run_block()
        assert dec.settled_length == 16
        dec.set(2, 77)
        dec.set(9, 78)
        assert dec.canvas[2] == 77 and dec.canvas[9] == 78
        with start("mini_like", prompt=dec.canvas[:16], policy=Policy.low_confidence(), gen_length=16) as fresh:
            assert dec.run().canvas.tolist() == fresh.run().canvas.tolist()


def test_infill():
    mask = model("mini_like").mask_token_id
    prompt = [10, 11, mask, 13, mask, mask, 16, 17, 18, 19]
    with pytest.raises(llada.SpecialTokenError):
        start("mini_like", prompt=prompt)
    with start("mini_like", prompt=prompt, infill=True, gen_length=6) as dec:
        assert np.flatnonzero(dec.states == State.MASKED).tolist() == [2, 4, 5, *range(10, 16)]
        dec.run()
        assert mask not in dec.canvas
        kept = [0, 1, 3, 6, 7, 8, 9]
        assert dec.canvas[kept].tolist() == [prompt[i] for i in kept]


@pytest.mark.parametrize("seed", range(24))
def test_interference_and_the_cache(seed):
    """Whatever a host writes, masks and bans: with the cache or without, on one thread or three, the bits are the
    same."""
    random = np.random.default_rng(seed)
    name = ["gqa_group", "mini_like"][seed % 2]
    chosen = [Policy.speedy(mbe_window=2), Policy.quality(), Policy.low_confidence()][seed % 3]
    prompt = random.integers(0, 90, random.integers(0, 20))
    twins = [
        model(name, threads=threads).decoder(
            prompt, chosen, block_length=8, gen_length=24, eos_early_stop=False, use_cache=cached
        )
        for threads, cached in ((1, True), (1, False), (3, True))
    ]
    one = twins[0]
    while not one.finished and one.forwards < 100:
        for _ in range(random.integers(0, 3)):
            position, token = int(random.integers(len(one.canvas))), int(random.integers(90))
            what = random.choice(["set", "mask", "ban"])
            answers = set()
            for dec in twins:
                try:
                    if what == "set":
                        dec.set(position, token)
                    elif what == "mask":
                        dec.mask(position)
                    else:
                        dec.ban(token, position)
                    answers.add("done")
                except llada.InvalidArgumentError as refusal:
                    answers.add(str(refusal))
            assert len(answers) == 1
        for dec in twins:
            dec.forward()
        for dec in twins[1:]:
            assert np.array_equal(one.logits(one.active[0]), dec.logits(one.active[0]))
            assert np.array_equal(one.confidences, dec.confidences)
        for dec in twins:
            dec.propose()
            dec.apply()
        for dec in twins[1:]:
            assert np.array_equal(one.canvas, dec.canvas) and np.array_equal(one.states, dec.states)


# -- Rules of one's own


def joint_threshold(dec: llada.Decoder):
    """LLaDA2.1's policy, once more, in Python."""
    p, sure, predicted, canvas = dec.policy, dec.confidences, dec.predictions, dec.canvas
    masked, drafts = dec.masked, dec.drafts
    fill = masked[sure[masked] > np.float32(p.threshold)]
    if len(fill) < p.num_to_transfer:
        fill = masked[np.argsort(-sure[masked], kind="stable")[: p.num_to_transfer]]
    change = drafts[(sure[drafts] > np.float32(p.editing_threshold)) & (predicted[drafts] != canvas[drafts])]
    return [*fill, *change]


@pytest.mark.parametrize("run", cases("hf21")[::3])
def test_a_rule_in_python_equals_the_policy(run):
    """The shape of every research idea: forward, decide in NumPy, apply."""
    with decoder(run, rule=joint_threshold) as dec:
        dec.run()
        assert dec.tokens.tolist() == run["output"]
        assert dec.canvas.tolist() == run["canvas"]
        assert dec.forwards == run["forwards"]


def test_a_rule_may_filter_what_the_policy_proposes():
    with start(rule=lambda dec: [e for e in dec.proposal if e.position % 2] or None) as dec:
        for step in dec:
            positions = [event.position for event in step.events]
            assert all(p % 2 for p in positions) or not any(p % 2 for p in positions)
        assert dec.finished


def test_left_to_right():
    """One token a step, in order: an autoregressive model of a diffusion one."""
    with start(policy=Policy.low_confidence(), gen_length=11, rule=lambda dec: dec.masked[:1]) as dec:
        order = [event.position for step in dec for event in step.events]
    assert order == list(range(5, 16))


def test_generate_with_a_rule():
    options = {"block_length": 8, "gen_length": 11, "eos_early_stop": False, "rule": lambda dec: dec.masked[:1]}
    result = model("gqa_group").generate(PROMPT, Policy.low_confidence(), **options)
    assert result.forwards == 11 and result.tpf == 1.0


def test_an_exception_in_a_rule_leaves_the_decoder_usable():
    with start() as dec:
        dec.rule = lambda dec: 1 / 0
        with pytest.raises(ZeroDivisionError):
            dec.step()
        assert dec.phase == "proposed"
        dec.rule = None
        dec.run()
        assert dec.tokens.tolist() == start().run().tokens.tolist()


# -- Callbacks


def test_callbacks_see_every_step():
    seen = []
    result = model("gqa_group").generate(
        PROMPT, block_length=8, gen_length=24, callback=lambda dec: seen.append((dec.forwards, len(dec.events)))
    )
    assert [number for number, _ in seen] == list(range(1, result.forwards + 1))


def test_a_callback_may_stop_and_go_on():
    with start() as dec:
        dec.run(lambda dec: STOP if dec.forwards == 2 else None)
        assert dec.forwards == 2 and not dec.finished and dec.finish_reason is None
        dec.run()
        assert dec.tokens.tolist() == start().run().tokens.tolist()
    early = model("gqa_group").generate(PROMPT, block_length=8, gen_length=24, callback=lambda dec: STOP)
    assert early.forwards == 1 and early.finish_reason is None


def test_a_callback_may_interfere():
    def lock_five(dec):
        if dec.canvas[6] != 99:
            dec.set(6, 99)
            dec.lock(6)

    with start() as dec:
        assert dec.run(lock_five).canvas[6] == 99


def test_exceptions_pass_through():
    class Mine(Exception):
        pass

    def fail(dec):
        raise Mine("from the callback")

    with start() as dec:
        with pytest.raises(Mine) as caught:
            dec.run(fail)
        assert caught.traceback[-1].name == "fail"
        assert dec.forwards == 1
        with pytest.raises(KeyboardInterrupt):
            dec.run(lambda dec: (_ for _ in ()).throw(KeyboardInterrupt))
        dec.run()
        assert dec.tokens.tolist() == start().run().tokens.tolist()


# -- Results


def test_generation():
    result = model("mini_like").generate(PROMPT, gen_length=20, block_length=8)
    assert result.tokens.dtype == np.int32
    assert result.tpf == len(result.tokens) / result.forwards
    assert result.text is None  # no tokenizer in the folder
    assert result.finish_reason in ("eos", "length")


@pytest.mark.parametrize("run", cases("hf21")[::40])
def test_finish_reason(run):
    result = decoder(run).run().result
    assert result.finish_reason == ("eos" if run["eos_id"] in run["output"] else "length")


def test_output_before_the_end_is_what_is_settled():
    with start(policy=Policy.low_confidence()) as dec:
        assert dec.tokens.tolist() == []
        dec.run_block()
        assert dec.tokens.tolist() == dec.canvas[5 : dec.settled_length].tolist()
        assert dec.settled_length == 8


def test_seeds():
    chosen = Policy.speedy(temperature=1.5)
    options = {"block_length": 8, "gen_length": 40, "eos_early_stop": False}

    def ask(seed):
        return model("gqa_group").generate(PROMPT, chosen.replace(seed=seed), **options).tokens.tolist()

    assert ask(1) == ask(1)
    assert len({tuple(ask(seed)) for seed in range(5)}) > 1


def test_penalty_changes_what_is_predicted_not_the_logits():
    with start() as plain, start(policy=Policy.quality(penalty_lambda=50.0)) as punished:
        plain.forward()
        punished.forward()
        left = int(plain.canvas[4])
        assert np.array_equal(plain.logits(5), punished.logits(5))
        assert punished.predictions[5] != left


# -- Being looked at


def test_pictures():
    with start("mini_like") as dec:
        assert "ready" in repr(dec)
        assert dec.draw(color=False).count("░") == 27
        dec.step()
        assert "\x1b[32m" in dec.draw()
        assert "<pre" in dec._repr_html_() and "░" in dec._repr_html_()
        for line in dec.draw(width=20, color=False).split("\n"):
            assert len(line) <= 20
        dec.run()
        assert "░" not in dec.draw() and "length" in repr(dec)
    assert "closed" in repr(dec)
