"""Deletions and insertions as the package shows them: rules, events, traces, replay, pictures, streams, rollouts."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import llada
from conftest import ROOT, runs
from llada import Edit, Policy, Trace
from llada.trace import film

NAME = "block_route"
TINY = ROOT / "examples" / "models" / "tiny-2.1"
QUESTION = "What is 38 plus 46?"


@pytest.fixture(scope="module")
def model():
    with llada.Model.load(
        ROOT / "Tests" / "Fixtures" / "conformance" / NAME, mask_token_id=127, eos_token_id=[126], threads=1
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(TINY, threads=1) as opened:
        yield opened


def policy(run: dict) -> Policy:
    given = dict(run["params"])
    if run["algo"] != "sglang_JointThresholdInDel":
        return Policy.levenshtein(**given)
    names = {"edit_threshold": "editing_threshold", "max_post_edit_steps": "max_post_steps"}
    return Policy.levenshtein(variant="indel", **{names.get(name, name): value for name, value in given.items()})


def options(run: dict) -> dict:
    biases = {int(token): bias for token, bias in run["logit_boost"].items()}
    return {"block_length": run["block_length"], "gen_length": run["gen_length"], "logit_bias": biases}


SAMPLE = runs(NAME)[::7]


def follow(canvas: list, events: list) -> None:
    for event in events:
        if event.kind == "insert":
            assert canvas.pop(event.last) == event.old
            canvas.insert(event.position, event.new)
        elif event.kind == "delete":
            assert canvas.pop(event.position) == event.old
            canvas.insert(event.last, event.new)
        else:
            assert canvas[event.position] == event.old and event.last == event.position
            canvas[event.position] = event.new


@pytest.mark.parametrize("run", SAMPLE, ids=lambda run: run["id"])
def test_events_traces_and_replay_follow_the_tokens(model, run, tmp_path):
    with model.decoder(run["prompt"], policy(run), **options(run)) as dec:
        path = tmp_path / "trace"
        trace, canvas, before = dec.record(path), dec.canvas.tolist(), []
        kinds = {"insert": 0, "delete": 0, "replace": 0}
        for step in dec:
            before.append(list(canvas))
            follow(canvas, step.events)
            assert canvas == dec.canvas.tolist()
            for event in step.events:
                kinds[event.kind] = kinds.get(event.kind, 0) + 1
        answer = dec.result
        assert answer.tokens.tolist() == run["output"]
        assert (answer.insertions, answer.deletions) == (kinds["insert"], kinds["delete"])
        assert answer.edits == kinds["replace"]
        loaded = Trace.load(path)
        assert loaded.canvases.tolist() == before and loaded.canvas.tolist() == canvas
        last = list(film.frames(loaded))[-1]
        assert np.array_equal(last.written, dec.step_map)
        assert loaded.result.insertions == answer.insertions
        assert trace.replay(model) is None and loaded.replay(model) is None
        for draw in (loaded.html, loaded.svg):
            draw(tmp_path / "picture")
        loaded.play(0, io.StringIO())


def test_pictures_say_what_came_in_and_what_went(model, tmp_path):
    run = next(run for run in SAMPLE if run["logit_boost"]["120"] and run["algo"].startswith("lev22"))
    answer = model.generate(run["prompt"], policy(run), record=True, **options(run))
    assert answer.insertions and answer.deletions
    told = io.StringIO()
    answer.trace.play(0, told)
    assert "+ '░'" in told.getvalue() and "- '░'" in told.getvalue()
    counters = " ".join(frame.counters() for frame in film.frames(answer.trace))
    assert " inserted" in counters and " deleted" in counters
    answer.trace.svg(tmp_path / "run.svg")
    assert "#8fd3dc" in (tmp_path / "run.svg").read_text()  # a mask that came in
    with model.decoder(run["prompt"], policy(run), **options(run)) as dec:
        while not dec.insertions:
            dec.step()
        assert f"insertions={dec.insertions}" in repr(dec) and "#0a7d8c" in dec._repr_html_() and dec.draw()


def inserting(word: list[int], at: int, when: int):
    """Puts a word in before the token at a position of the answer, once."""

    def rule(dec):
        place = dec.prompt_length + at
        if dec.block_step != when or place not in dec.active:
            return None
        return [edit for edit in dec.proposal if edit.position != place] + [Edit.insert(place, each) for each in word]

    return rule


@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_rule_puts_a_word_in(tiny, at, tmp_path):
    word = tiny.tokenizer.encode(" really").tolist()
    with tiny.decoder(QUESTION, Policy.speedy(), rule=inserting(word, at, 1), gen_length=64) as dec:
        trace, canvas = dec.record(tmp_path / "trace"), dec.canvas.tolist()
        stream, text = tiny.text_stream(), ""
        seen = False
        for step in dec:
            before = list(canvas)
            follow(canvas, step.events)
            assert canvas == dec.canvas.tolist()
            came = [event for event in step.events if event.kind == "insert"]
            if came:
                place = dec.prompt_length + at
                assert canvas[place : place + len(word)] == word and [event.new for event in came] == word
                assert dec.step_map[place : place + len(word)].tolist() == [dec.forwards] * len(word)
                assert all(event.reason == "host" for event in came) and before != canvas
                seen = True
            text += stream.update(dec).settled
        assert seen and dec.insertions == len(word)
        assert text == dec.text == tiny.tokenizer.decode(dec.tokens, skip_control=True)
    assert Trace.load(tmp_path / "trace").replay(tiny) is None
    told = io.StringIO()
    trace.play(0, told)
    assert "(host)" in told.getvalue() and "+ " in told.getvalue()


def test_what_moves_and_what_does_not(tiny):
    with tiny.decoder(QUESTION, Policy.speedy(), gen_length=64) as dec:
        dec.run_block()
        dec.step()
        first, end = dec.active.start, dec.active.stop
        wall = end - 6
        dec.lock(wall)
        before, map_before = dec.canvas.tolist(), dec.step_map.tolist()
        dec.forward()
        proposal = dec.propose([Edit.delete(first + 1), (first + 3, 77), Edit.insert(first + 2, 99)])
        assert [edit.kind for edit in proposal] == ["delete", "insert", "write"]
        assert proposal[0].token == before[first + 1]
        assert dec.propose(proposal) == proposal  # an edit says all of itself
        dec.apply()
        expected = list(before)
        expected[first + 3] = 77
        del expected[first + 1]
        expected.insert(wall - 1, dec.mask_token_id)
        expected.insert(first + 1, 99)
        del expected[wall]
        assert dec.canvas.tolist() == expected and dec.canvas[wall] == before[wall]
        assert dec.step_map[first] == map_before[first] and dec.step_map[first + 1] == dec.forwards
        dec.forward()
        for edit in (Edit.insert(wall, 9), Edit.delete(first - 1), Edit.insert(end, 9), Edit(first, 9, kind="swap")):
            with pytest.raises(llada.InvalidArgumentError):
                dec.propose([edit])


def test_batches_forks_and_snapshots_go_the_same_way(model):
    for run in SAMPLE[::4]:
        alone = model.generate(run["prompt"], policy(run), **options(run))
        several = model.generate_many([run["prompt"]] * 3, policy(run), progress=False, **options(run))
        assert all(answer.tokens.tolist() == alone.tokens.tolist() for answer in several)
        assert all(answer.forwards == alone.forwards for answer in several)
        with model.decoder(run["prompt"], policy(run), **options(run)) as dec:
            dec.step()
            dec.forward()
            dec.propose()
            ways = [dec.fork(), model.restore(dec.to_bytes()), model.restore(dec.to_bytes(pages=True)), dec]
            assert all(way.proposal == dec.proposal for way in ways)
            ends = [(way.run().canvas.tolist(), way.insertions, way.deletions, way.step_map.tolist()) for way in ways]
            assert all(end == ends[0] for end in ends)
            dec.truncate(dec.prompt_length // dec.block_length * dec.block_length)
            assert dec.run().canvas.tolist() == ends[0][0]


def test_rollouts_keep_log_probs_with_their_tokens(model):
    run = next(run for run in SAMPLE if run["logit_boost"]["121"])
    settings = options(run)
    biases = settings.pop("logit_bias")
    drawn = policy(run).replace(temperature=0.7)
    assert biases
    rollouts = model.rollouts(run["prompt"], 4, drawn, **settings)
    wrote = rollouts.step_maps > 0
    assert np.array_equal(wrote, ~np.isnan(rollouts.log_probs))
    assert rollouts.generations[0].tokens.tolist() == model.generate(run["prompt"], drawn, **settings).tokens.tolist()


def test_a_trace_of_version_1_is_read(tiny, tmp_path):
    """As 0.1 wrote it: no kinds of edits, no ends of moves, a policy without three numbers."""
    with tiny.decoder(QUESTION, Policy.speedy(), gen_length=64) as dec:
        dec.record(tmp_path / "new")
        dec.step()
        dec.forward()
        dec.propose([int(dec.drafts[1])])
        dec.run()
    lines = [json.loads(line) for line in (tmp_path / "new").read_text().splitlines()]
    lines[0]["version"] = 1
    for name in ("max_steps_per_block", "variant", "refresh"):
        del lines[0]["policy"][name]
    for line in lines[1:]:
        for key in ("proposal", "events"):
            if line.get(key):
                line[key] = [row[:-1] for row in line[key]]
        for call in line.get("after", []):
            if call[0] == "set_proposal":
                call[1] = [row[:3] for row in call[1]]
    for name in ("insertions", "deletions"):
        del lines[-1]["result"][name]
    (tmp_path / "old").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Trace.load(tmp_path / "old").replay(tiny) is None


@pytest.mark.parametrize("variant", ["reference", "indel"])
@pytest.mark.parametrize("mask", [None, "░"])
def test_streams_give_each_token_once(variant, mask):
    """A model that was not trained for it, with two rare tokens that are to delete and insert, and are made likely."""
    with llada.Model.load(TINY, threads=1, delete_token_id=1000, split_token_id=1001) as opened:
        settings = {"gen_length": 96, "logit_bias": {1000: 20.0, 1001: 20.0}}
        moved = 0
        for question in (QUESTION, "What is 347 plus 586?"):
            with opened.decoder(question, Policy.levenshtein(variant=variant, max_post_steps=4), **settings) as dec:
                stream, text = opened.text_stream(mask=mask), ""
                while not dec.finished:
                    events = dec.step().events
                    moved += sum(event.moves for event in events)
                    update = stream.update(dec)
                    text += update.settled
                    settled = dec.tokens
                    assert text == opened.tokenizer.decode(settled, skip_control=True) or "\ufffd" in text
                assert text == dec.text
                assert not np.isin(dec.tokens, [1000, 1001, dec.mask_token_id]).any()
        assert moved > 4
