"""Traces: what is recorded is what happened, and comes out again, bit for bit."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import llada
from conftest import ROOT, load, model
from llada import Policy, Trace, TraceError

PROMPT = [1, 2, 3, 4, 5]
TINY = ROOT / "examples" / "models" / "tiny-2.1"


def start(name="mini_like", prompt=PROMPT, **options):
    return model(name).decoder(prompt, **{"block_length": 8, "gen_length": 24, "eos_early_stop": False, **options})


def recorded(name="mini_like", prompt=PROMPT, **options):
    with start(name, prompt, **options) as dec, dec.record() as trace:
        dec.run()
    return trace


def check(trace, tmp_path, name="mini_like"):
    """It says the same after a file, and happens again."""
    trace.save(tmp_path / "saved.jsonl")
    loaded = Trace.load(tmp_path / "saved.jsonl")
    for ours, theirs in zip(trace.steps, loaded.steps):
        for field in ("canvas", "predictions", "confidences"):
            assert getattr(ours, field).tobytes() == getattr(theirs, field).tobytes()
        assert ours.before == theirs.before and ours.after == theirs.after
        assert repr((ours.proposal, ours.events)) == repr((theirs.proposal, theirs.events))  # a host's are not numbers
        assert ours.active == theirs.active and ours.again == theirs.again
    assert len(trace.steps) == len(loaded.steps)
    assert loaded.start.policy == trace.start.policy and loaded.start.options == trace.start.options
    assert loaded.result.tokens.tolist() == trace.result.tokens.tolist()
    assert loaded.texts == trace.texts
    assert np.array_equal(loaded.canvases, trace.canvases)
    assert loaded.replay(model(name)) is None
    return loaded


def eager(dec):
    """Fills the mask it is surest of, locks it, and bans its token at the next position."""
    masked = dec.masked
    if not len(masked):
        return []
    best = int(masked[np.argmax(dec.confidences[masked])])
    if best + 1 < dec.active.stop:
        dec.ban(int(dec.predictions[best]), best + 1)
    return [best]


@pytest.mark.parametrize(
    "options",
    [
        {"policy": Policy.speedy()},
        {"policy": Policy.quality(mbe_window=2)},
        {"policy": Policy.speedy(mbe_window=3, mbe_rounds=2)},
        {"policy": Policy.low_confidence()},
        {"policy": Policy.speedy(temperature=0.8, top_k=20, top_p=0.9, seed=2**64 - 1)},
        {"policy": Policy.quality(penalty_lambda=0.3, threshold=0.1 + 0.2)},
        {"rule": eager},
        {"rule": lambda dec: None},
        {"use_cache": False},
        {"eos_early_stop": True, "gen_length": 17},
        {"prompt": [1, 2, 127, 127, 5], "infill": True, "gen_length": 0},
    ],
    ids=repr,
)
def test_recorded_saved_loaded_replayed(options, tmp_path):
    with start(**options) as plain:
        plain.run()
        with start(**options) as dec:
            canvases, confidences, events = [], [], []
            with dec.record() as trace:
                while not dec.finished:
                    canvases.append(dec.canvas)
                    dec.forward()
                    dec.propose()
                    confidences.append(np.where(dec.predictions < 0, np.nan, dec.confidences))
                    events.append(dec.apply())
            assert dec.tokens.tolist() == plain.tokens.tolist() == trace.result.tokens.tolist()
            assert trace.step_map.tolist() == dec.step_map.tolist()
            assert np.array_equal(trace.canvas, dec.canvas)
    assert [step.events for step in trace.steps] == events
    assert np.array_equal(trace.canvases, canvases)
    assert np.array_equal(trace.confidences, confidences, equal_nan=True)
    assert any(step.editing_blocks for step in trace.steps) == (options.get("policy", Policy()).mbe_window > 1)
    check(trace, tmp_path)


def test_the_step_map_is_what_the_events_say():
    trace = recorded(policy=Policy.speedy())
    written = np.zeros(len(trace.canvas), np.int32)
    for step in trace.steps:
        for event in step.events:
            written[event.position] = 0 if event.kind == "remask" else step.forwards
    assert trace.step_map.tolist() == written.tolist()
    assert trace.step_map[5:29].min() > 0 and not trace.step_map[:5].any()


def test_what_the_host_does_is_part_of_it(tmp_path):
    with start(policy=Policy.speedy()) as dec, dec.record(tmp_path / "run.jsonl") as trace:
        dec.set(20, 9)  # a block to come
        dec.lock(6)
        dec.forward()
        dec.forward()  # once more
        dec.ban(int(dec.predictions[7]), 7)
        dec.propose()
        dec.propose([(7, 11)])
        dec.apply()
        assert [(event.position, event.new, event.reason) for event in dec.events] == [(20, 9, "host"), (7, 11, "host")]
        dec.set(1, 40)  # in the prompt
        dec.mask(7)
        dec.unlock(6)
        dec.step()
        dec.end_block(False)
        while dec.active.start < 16:
            dec.step()
        dec.truncate(8)
        dec.disable_expert(3, 2)
        dec.run()
        dec.truncate(16)
        dec.run()
        dec.truncate(dec.active.stop)
    first, again, after = trace.steps[:3]
    assert first.events is None and first.proposal is None and not first.again
    assert again.again and not after.again and (first.forwards, again.forwards) == (1, 2)
    assert first.before == [("set_token", 20, 9), ("lock", 6, True)]
    assert [call[0] for call in again.after] == ["ban", "propose", "set_proposal"]
    assert [edit.reason for edit in again.proposal] == ["host"]
    assert after.before == [("set_token", 1, 40), ("mask", 7), ("lock", 6, False)]
    assert trace.result.before == [("truncate", trace.steps[-1].active.stop)]
    loaded = check(trace, tmp_path)
    streamed = Trace.load(tmp_path / "run.jsonl")
    assert np.array_equal(streamed.canvases, loaded.canvases) and streamed.replay(model("mini_like")) is None


def test_refused_calls_are_not_recorded(tmp_path):
    with start() as dec, dec.record() as trace:
        with pytest.raises(llada.StateError):
            dec.propose()
        dec.forward()
        with pytest.raises(llada.InvalidArgumentError):
            dec.lock(10**6)
        with pytest.raises(llada.InvalidArgumentError):
            dec.propose([(0, 3)])
        dec.step()
    assert trace.steps[0].before == [] and trace.steps[0].after == [("propose",)]
    check(trace, tmp_path)


def test_a_rule_that_raises_is_asked_again(tmp_path):
    asked = []

    def moody(dec):
        asked.append(dec.forwards)
        if len(asked) % 3 == 0:
            raise ZeroDivisionError
        return eager(dec)

    with start(rule=moody) as dec, dec.record() as trace:
        while not dec.finished:
            with contextlib.suppress(ZeroDivisionError):
                dec.step()
    assert len(asked) > trace.result.forwards and any(step.after.count(("propose",)) == 2 for step in trace.steps)
    check(trace, tmp_path)


def test_cancelled_forwards_are_none():
    with start() as dec, dec.record() as trace:
        dec.cancel()
        with pytest.raises(llada.Cancelled):
            dec.step()
        dec.run()
    assert [step.forwards for step in trace.steps] == list(range(1, trace.result.forwards + 1))
    assert trace.replay(model("mini_like")) is None


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_recording_may_begin_and_end_anywhere(phase, tmp_path):
    with start() as dec, start() as plain:
        plain.run()
        dec.step()
        for part in (dec.forward, dec.propose)[:phase]:
            part()
        trace = dec.record()
        assert trace.recording
        with pytest.raises(llada.StateError, match="being recorded"):
            dec.record()
        dec.step()
        dec.step()
        trace.stop()
        dec.run()
        assert dec.tokens.tolist() == plain.tokens.tolist()
        assert not trace.recording and [step.forwards for step in trace.steps] == [2, 3]
        assert trace.steps[0].events is not None
        assert trace.start.snapshot is not None
        check(trace, tmp_path)
        assert trace.replay(model("gqa_group")).step == 0
        other = dec.record()
    assert other.result is not None  # the decoder ended


def test_what_was_done_before_the_recording(tmp_path):
    token = int(recorded().result.tokens[0])
    with start() as dec:
        dec.ban(token)
        trace = dec.record()
        dec.run()
    assert token not in trace.result.tokens and trace.start.snapshot is not None
    check(trace, tmp_path)
    with model("mini_like").restore(start().to_bytes()) as dec, dec.record() as trace:
        dec.run()
    check(trace, tmp_path)
    assert trace.result.tokens.tolist() == recorded().result.tokens.tolist()


def test_forks_are_not_recorded_with_it(tmp_path):
    with start() as dec, dec.record() as trace:
        dec.step()
        with dec.fork(seed=3) as fork, fork.record() as branch:
            fork.run()
        dec.run()
    assert [step.forwards for step in trace.steps] == list(range(1, trace.result.forwards + 1))
    assert branch.steps[0].forwards == 2
    check(trace, tmp_path)
    check(branch, tmp_path)


# -- A decoder that has finished


@pytest.mark.parametrize("way", ["run", "steps", "parts", "generate_many", "recorded too late"])
def test_a_trace_is_complete_when_the_decoder_has_finished(way, tmp_path):
    """Without `stop()`: what is saved can be loaded, and so can the file that was written on the way."""
    expected = recorded(policy=Policy.speedy())
    dec = start(policy=Policy.speedy())
    if way == "recorded too late":
        dec.run()
    trace = dec.record(tmp_path / "run.jsonl")
    if way == "run":
        dec.run()
    elif way == "generate_many":
        while not dec.finished:
            llada.step_many([dec])
    while not dec.finished:
        assert trace.result is None
        for part in ("forward", "propose", "apply") if way == "parts" else ("step",):
            getattr(dec, part)()
    assert trace.recording and trace.result.tokens.tolist() == expected.result.tokens.tolist()
    trace.save(tmp_path / "saved.jsonl")
    for path in (tmp_path / "saved.jsonl", tmp_path / "run.jsonl"):
        loaded = Trace.load(path)
        assert loaded.result.finish_reason == "length" and np.array_equal(loaded.canvas, expected.canvas)
        assert loaded.replay(model("mini_like")) is None
    assert dec.result.trace is trace
    written = (tmp_path / "run.jsonl").read_text()
    trace.stop()
    assert (tmp_path / "run.jsonl").read_text() == written and dec.result.trace is None


def test_what_follows_the_end_is_part_of_it(tmp_path):
    """The result is taken back when there is more to come, in the file as well, and comes again."""
    path = tmp_path / "run.jsonl"
    dec = start(policy=Policy.speedy())
    trace = dec.record(path)
    dec.watch(routing=True)
    dec.run()
    usage, length = trace.result.expert_usage, path.stat().st_size
    assert usage.sum() > 0
    dec.lock(7)
    assert trace.result.before == [("lock", 7, True)] and Trace.load(path).result.before == [("lock", 7, True)]
    dec.truncate(16)
    assert trace.result is None and path.stat().st_size < length
    with pytest.raises(TraceError, match="the end of the file"):
        Trace.load(path)
    assert Trace.load(path, partial=True).result is None
    dec.step()
    assert trace.result is None
    dec.run()
    assert trace.result.before == [] and trace.result.expert_usage.sum() > usage.sum()
    loaded = Trace.load(path)
    assert loaded.texts == trace.texts and np.array_equal(loaded.canvases, trace.canvases)
    assert [call[0] for step in loaded.steps for call in step.before] == ["lock", "truncate"]
    assert loaded.replay(model("mini_like")) is None
    check(trace, tmp_path)


def test_a_result_that_is_taken_back_takes_its_texts_along(tmp_path):
    with llada.Model.load(TINY, threads=1) as tiny, tiny.decoder("What is 2 plus 3?", gen_length=32) as dec:
        trace = dec.record(tmp_path / "run.jsonl")
        dec.run()
        once = Trace.load(tmp_path / "run.jsonl")
        assert once.texts == trace.texts and once.text == trace.text == dec.text
        dec.truncate(dec.active.start)
        dec.run()
        assert Trace.load(tmp_path / "run.jsonl").texts == trace.texts
        assert Trace.load(tmp_path / "run.jsonl").replay(tiny) is None


def test_the_order_of_a_call_is_that_of_version_1_of_the_format(tmp_path):
    """A trace of an earlier library replays: the order of arguments in llada.h has changed, that in files has not."""
    with start() as dec, dec.record() as trace:
        dec.ban(9, 6)
        dec.disable_expert(3, layer=2)
        dec.run()
    assert trace.steps[0].before == [("ban", 6, 9, True), ("disable_expert", 2, 3, True)]
    check(trace, tmp_path)


# -- Several


def test_many_at_a_time(tmp_path):
    prompts = [[1, 2, 3], [4, 5, 6, 7], list(range(1, 20)), [9]]
    options = {"block_length": 8, "gen_length": 16, "policy": Policy.speedy()}
    answers = list(model("mini_like").generate_many(prompts, in_flight=2, record=True, **options))
    for prompt, answer in zip(prompts, answers):
        alone = model("mini_like").generate(prompt, record=tmp_path / "alone.jsonl", **options)
        check(answer.trace, tmp_path)
        answer.trace.save(tmp_path / "batch.jsonl")
        alone.trace.save(tmp_path / "again.jsonl")
        assert (tmp_path / "batch.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()
        assert Trace.load(tmp_path / "alone.jsonl").text == alone.text
    assert model("mini_like").generate(PROMPT, gen_length=8).trace is None
    with start() as a, start() as b, a.record() as trace:
        a.forward()
        llada.step_many([a, b])
        llada.forward_many([a, b])
        llada.forward_many([a, b])
        llada.step_many([a, b])
    assert [(step.forwards, step.again, step.events is None) for step in trace.steps] == [
        (1, False, False),
        (2, False, True),
        (3, True, False),
    ]
    assert trace.replay(model("mini_like")) is None


def test_expert_usage():
    with start() as dec, dec.record() as trace:
        dec.watch(routing=True)
        dec.run()
        usage = dec.expert_usage
    assert np.array_equal(trace.result.expert_usage, usage) and usage.sum() > 0
    assert trace.replay(model("mini_like")) is None


# -- Differences


def change(trace, index, **fields):
    trace.steps[index] = replace(trace.steps[index], **fields)


def test_the_first_difference_is_pointed_at():
    trace = recorded(policy=Policy.speedy())
    step = trace.steps[2]
    sure = step.confidences.copy()
    sure[3] = np.nextafter(sure[3], np.float32(2))  # one unit in the last place
    change(trace, 2, confidences=sure)
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what, found.position) == (3, "confidences", step.active.start + 3)
    assert np.float32(found.expected) == sure[3] and np.float32(found.found) == step.confidences[3]
    assert (
        str(found)
        == f"step 3: confidences at position {step.active.start + 3}: recorded {sure[3]!s}, now {step.confidences[3]!s}"
    )

    trace = recorded(policy=Policy.speedy())
    predictions = trace.steps[1].predictions.copy()
    predictions[5] += 1
    change(trace, 1, predictions=predictions)
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what, found.position) == (2, "predictions", trace.steps[1].active.start + 5)
    assert found.expected == found.found + 1

    trace = recorded(policy=Policy.speedy())
    event = trace.steps[0].events[-1]
    change(trace, 0, events=[*trace.steps[0].events[:-1], event._replace(reason="fallback")])
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what, found.position) == (1, "events", event.position)
    assert "fallback" in str(found) and event.reason in str(found)

    trace = recorded(policy=Policy.speedy())
    change(trace, 0, proposal=trace.steps[0].proposal[:-1])
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what) == (1, "number of proposal")
    assert found.expected + 1 == found.found

    trace = recorded(policy=Policy.speedy())
    trace.result = replace(trace.result, finish_reason="eos")
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what, found.expected, found.found) == (None, "finish_reason", "eos", "length")

    trace = recorded(policy=Policy.speedy())
    change(trace, 1, before=[("lock", 10**6, True)])
    found = trace.replay(model("mini_like"))
    assert (found.step, found.what) == (2, "lock") and "1000000" in found.found


def test_another_model_is_another_model():
    trace = recorded()
    found = trace.replay(model("gqa_group"))
    assert found.step == 0 and str(found).startswith("model: ")
    with load("mini_like", dtype="int8") as packed:
        found = trace.replay(packed)
    assert found.step == 1 and found.what in ("predictions", "confidences")


def test_another_policy_shows_in_the_proposal():
    trace = recorded(policy=Policy.speedy())
    trace.start = replace(trace.start, policy=Policy.quality(threshold=0.999999))
    found = trace.replay(model("mini_like"))
    assert found.step == 1 and found.what in ("proposal", "number of proposal")


# -- Files


def lines(tmp_path):
    recorded().save(tmp_path / "whole.jsonl")
    return (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)


def refused(tmp_path, text, partial=False):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(TraceError) as refusal:
        Trace.load(tmp_path / "bad.jsonl", partial=partial)
    assert isinstance(refusal.value, ValueError) and f"{tmp_path / 'bad.jsonl'}, line " in str(refusal.value)
    assert "found " in str(refusal.value) and "expected " in str(refusal.value)
    return str(refusal.value)


def test_another_policy_is_a_fork_that_replays(gqa):
    """A recording that goes on with a fork of another policy, as the playground's do: read, written, done again."""
    with gqa.decoder([1, 2, 3], Policy.speedy(), gen_length=32) as first:
        trace = first.record()
        first.step()
        with first.fork(Policy.quality(temperature=0.8, seed=3)) as fork:
            both = Trace(trace.start)
            first._calls.recorder.branch(fork, both, fork.policy)
            fork.run()
            assert both.result.tokens.tolist() == fork.tokens.tolist() and len(both.steps) > len(trace.steps) == 1
    assert both.steps[1].before == [("fork", Policy.quality(temperature=0.8, seed=3))]
    file = io.BytesIO()
    both.save(file)
    lines = file.getvalue()
    file.seek(0)
    read = Trace.load(file)
    assert read.replay(gqa) is None and [step.before for step in read.steps] == [step.before for step in both.steps]
    # Without the fork the next steps are the first policy's.
    del read.steps[1].before[:]
    assert read.replay(gqa).step == 2
    for found, wrong in (
        ("threshold", '"threshold":"high"'),
        ("joint_threshold", '"kind":"wild"'),
        ("fork", '"fork2"'),
    ):
        at = lines.index(b'"fork"')
        broken = {
            "threshold": lines[at:].replace(b'"threshold":0.7', wrong.encode(), 1),
            "joint_threshold": lines[at:].replace(b'"kind":"joint_threshold"', wrong.encode(), 1),
            "fork": lines[at:].replace(b'"fork"', wrong.encode(), 1),
        }[found]
        with pytest.raises(TraceError, match="the file, line 3: found"):
            Trace.load(io.BytesIO(lines[:at] + broken))


def test_damaged_files(tmp_path):
    whole = lines(tmp_path)

    def changed(number, **values):
        line = json.loads(whole[number - 1])
        line.update(values)
        return "".join([*whole[: number - 1], json.dumps(line) + "\n", *whole[number:]])

    assert "version 4 of the format, expected version 1 to 3" in refused(tmp_path, changed(1, version=4))
    assert "line 1" in refused(tmp_path, changed(1, format="something"))
    assert "line 1: found the end of the file" in refused(tmp_path, "")
    assert "line 1: found no JSON" in refused(tmp_path, "hello\n")
    assert "an object" in refused(tmp_path, "[1]\n")
    assert "line 3: found step 4, expected step 2" in refused(tmp_path, "".join(whole[:2] + whole[4:]))
    assert "line 3" in refused(tmp_path, changed(3, active=[0, 10**6]))
    assert "line 3: found 2 confidences, expected 8" in refused(tmp_path, changed(3, confidences=[0.5, 0.5]))
    assert "line 3" in refused(tmp_path, changed(3, confidences="x"))
    assert "line 3" in refused(tmp_path, changed(3, before=[["explode", 1]]))
    assert "line 3" in refused(tmp_path, changed(3, after=[["lock", 1]]))
    assert "line 3: found set_token at position 32" in refused(tmp_path, changed(3, before=[["set_token", 32, 1]]))
    assert "line 3" in refused(tmp_path, changed(3, after=[["set_proposal", [[1, 2]]]]))
    assert "line 3" in refused(tmp_path, changed(3, events=[[10**6, "unmask", 1, 2, 0.5, "edit", 10**6]]))
    assert "from 8 to 7" in refused(tmp_path, changed(3, events=[[8, "insert", 1, 2, 0.5, "edit", 7]]))
    assert "from 8 to 32" in refused(tmp_path, changed(3, events=[[8, "delete", 1, 2, 0.5, "edit", 32]]))
    assert "the kind" in refused(tmp_path, changed(3, events=[[8, "swap", 1, 2, 0.5, "edit", 8]]))
    assert "the kind" in refused(tmp_path, changed(3, proposal=[[8, 2, 0.5, "host", "swap"]]))
    assert "line 3" in refused(tmp_path, changed(3, proposal=[[8, 2, 0.5, "whim", "write"]]))
    assert "line 3" in refused(tmp_path, changed(3, texts={"x": "y"}))
    # Found by fuzzing (Tests/fuzz/trace.py): each of them was read, and failed when it was shown.
    assert "surrogates" in refused(tmp_path, changed(3, texts={"1": "\ud800"}))
    assert "'forwards'" in refused(tmp_path, changed(3, forwards=2**31))
    confidences = [1e300, *json.loads(whole[2])["confidences"][1:]]
    assert "confidences" in refused(tmp_path, changed(3, confidences=confidences))
    model = json.loads(whole[0])["model"]
    assert "'eos_token_id'" in refused(tmp_path, changed(1, model={**model, "eos_token_id": [1]}))
    assert "'name'" in refused(tmp_path, changed(1, model={"mask_token_id": 1}))
    policy = json.loads(whole[0])["policy"]
    assert "a policy that is none" in refused(tmp_path, changed(1, policy={**policy, "kind": []}))
    assert "a policy that is none" in refused(tmp_path, changed(1, policy={**policy, "steps": "many"}))
    canvas = json.loads(whole[2])["canvas"]
    canvas[4] += 1
    told = refused(tmp_path, changed(3, canvas=canvas))
    assert f"line 3: found token {canvas[4]} at position {json.loads(whole[2])['active'][0] + 4}" in told
    assert "after the result" in refused(tmp_path, "".join([*whole, whole[-1]]))
    assert f"line {len(whole) - 1}: found the end of the file" in refused(tmp_path, "".join(whole[:-1]))
    refused(tmp_path, whole[0].replace('"prompt"', '"prom"'))
    refused(tmp_path, whole[0].replace('"threshold"', '"thresh"'))
    result = json.loads(whole[-1])["result"]
    result["canvas"][-1] += 1
    assert f"line {len(whole)}" in refused(tmp_path, changed(len(whole), result=result))


def test_damage_anywhere_is_refused_or_told_apart(tmp_path):
    """No byte that is wrong ends in anything but a TraceError, or a trace that can be looked at and replayed."""
    whole = "".join(lines(tmp_path)).encode()
    random = np.random.default_rng(1)
    refusals = 0
    for _ in range(400):
        damaged = bytearray(whole)
        at = int(random.integers(len(whole)))
        damaged[at] = random.choice(np.frombuffer(b'0123456789-,:[]{}" nulltrue\n\xff', np.uint8))
        (tmp_path / "bad.jsonl").write_bytes(damaged)
        try:
            trace = Trace.load(tmp_path / "bad.jsonl")
        except TraceError:
            refusals += 1
            continue
        trace.replay(model("mini_like"))
        trace.html(tmp_path / "bad.html")
    assert refusals > 200
    nested = "[" * 100_000 + "]" * 100_000
    assert "no JSON" in refused(tmp_path, nested + "\n")


def test_every_cut_is_noticed_and_what_is_whole_can_be_read(tmp_path):
    whole = "".join(lines(tmp_path))
    for end in range(1, len(whole), 997):
        text = whole[:end]
        refused(tmp_path, text)
        if "\n" not in text:
            refused(tmp_path, text, partial=True)
            continue
        loaded = Trace.load(tmp_path / "bad.jsonl", partial=True)
        assert len(loaded.steps) == max(0, text.count("\n") - 1) and loaded.result is None
        assert loaded.replay(model("mini_like")) is None
        with pytest.raises(TraceError, match="cut off"):
            _ = loaded.step_map


def test_a_crash_leaves_all_but_the_last_line(tmp_path):
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT / 'bindings' / 'python')!r}); import llada\n"
        f"dec = llada.Model.load({str(TINY)!r}, threads=1).decoder('What is 2 plus 3?', eos_early_stop=False)\n"
        f"trace = dec.record({str(tmp_path / 'run.jsonl')!r})\n"
        "for _ in range(3): dec.step()\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    trace = Trace.load(tmp_path / "run.jsonl", partial=True)
    assert len(trace.steps) == 3 and trace.texts
    with llada.Model.load(TINY, threads=1) as tiny:
        assert trace.replay(tiny) is None


def test_floats_read_back_bit_for_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    back = np.array(json.loads(json.dumps([llada.trace.jsonl.number(v) for v in values])), np.float32)
    assert back.tobytes() == values.tobytes()
    assert llada.trace.jsonl.number(np.float32("nan")) is None


def test_memory_comes_back():
    """Recorder, trace and decoder are no cycle that waits for the collector."""
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        dec = start()
        trace = dec.record()
        dec.step()
        gone = weakref.ref(dec)
        del dec
        assert gone() is None and not trace.recording and len(trace.steps) == 1
        trace.stop()
    finally:
        gc.enable()
