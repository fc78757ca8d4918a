"""How a callback goes on, stops and fails: one meaning for all of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import llada
from conftest import load, model
from llada import STOP

PROMPT = [1, 2, 3, 4, 5]
OPTIONS = {"block_length": 8, "gen_length": 24}


class Mine(Exception):
    pass


def decoding(way: str, callback):
    """Some way to decode with a callback."""
    engine = model("gqa_group")
    if way == "generate":
        return engine.generate(PROMPT, **OPTIONS, callback=callback)
    if way == "generate_many":
        return engine.generate_many([PROMPT, PROMPT[:2]], **OPTIONS, callback=callback)[0]
    with engine.decoder(PROMPT, **OPTIONS) as dec:
        return getattr(dec, way)(callback).result


def reporting(way: str, progress, tmp_path):
    """Some way to have progress reported."""
    if way == "load":
        return load("gqa_group", progress=progress)
    if way == "save":
        with load("gqa_group", dtype="int8") as packed:
            return packed.save(tmp_path / "saved", progress=progress)
    if way == "elbo":
        return model("gqa_group").elbo(PROMPT, progress=progress)
    return model("gqa_group").score(PROMPT, [127] * 5, progress=progress)


DECODING = ["run", "run_block", "generate", "generate_many"]
REPORTING = ["load", "save", "score", "elbo"]


def test_the_value_that_stops():
    assert repr(STOP) == "llada.STOP"
    assert pickle.loads(pickle.dumps(STOP)) is STOP and copy.deepcopy(STOP) is STOP


@pytest.mark.parametrize("way", DECODING)
def test_decoding_stops_where_it_is(way):
    seen = []
    result = decoding(way, lambda dec: seen.append(dec.forwards))
    assert result.forwards > 1 and seen
    result = decoding(way, lambda dec: STOP)
    assert result.forwards == 1 and result.finish_reason is None


@pytest.mark.parametrize("way", REPORTING)
def test_progress_stops_the_work(way, tmp_path):
    with pytest.raises(llada.Stopped):
        reporting(way, lambda fraction: STOP, tmp_path)
    seen = []
    reporting(way, seen.append, tmp_path)
    assert seen == sorted(seen) and seen[-1] == 1


@pytest.mark.parametrize("answer", [True, False, 0, 1, "stop", llada.Stopped], ids=repr)
@pytest.mark.parametrize("way", [*DECODING, *REPORTING])
def test_any_other_answer_is_refused_in_words(way, answer, tmp_path):
    words = r"(callback|progress) must return None to go on, or llada\.STOP to stop, not "
    with pytest.raises(TypeError, match=words):
        decoding(way, lambda dec: answer) if way in DECODING else reporting(way, lambda fraction: answer, tmp_path)


@pytest.mark.parametrize(
    "raised", [Mine("words"), StopIteration(7), KeyboardInterrupt(), GeneratorExit(), SystemExit(3)]
)
@pytest.mark.parametrize("way", [*DECODING, *REPORTING])
def test_what_is_raised_is_raised(way, raised, tmp_path):
    def fail(_):
        raise raised

    with pytest.raises(type(raised)) as caught:
        decoding(way, fail) if way in DECODING else reporting(way, fail, tmp_path)
    assert caught.value is raised


@pytest.mark.parametrize("raised", [Mine("words"), StopIteration(7), KeyboardInterrupt()])
def test_what_a_rule_raises_is_raised(raised):
    def rule(dec):
        raise raised

    for act in (llada.Decoder.step, llada.Decoder.run, llada.Decoder.propose, lambda dec: llada.step_many([dec])):
        with model("gqa_group").decoder(PROMPT, **OPTIONS, rule=rule) as dec:
            dec.forward()
            with pytest.raises(type(raised)) as caught:
                act(dec)
            assert caught.value is raised
    for act in (model("gqa_group").generate_many, model("gqa_group").generate):
        with pytest.raises(type(raised)) as caught:
            act([PROMPT] if act.__name__.endswith("many") else PROMPT, **OPTIONS, rule=rule)
        assert caught.value is raised


def test_a_generator_cannot_raise_the_end_of_itself():
    """Python's own rule: what looks like the end of an iteration does not pass for one."""

    def fail(_):
        raise StopIteration

    with pytest.raises(RuntimeError) as caught:
        list(model("gqa_group").stream_many([PROMPT], **OPTIONS, callback=fail))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_rule_answers_with_edits():
    with model("gqa_group").decoder(PROMPT, **OPTIONS, rule=lambda dec: STOP) as dec:
        with pytest.raises(TypeError, match="edits must be positions.*llada.STOP"):
            dec.step()
        dec.rule = None
        dec.run()


# -- Steps are the library's


def called(monkeypatch) -> list:
    """The functions of the library that change a decoder, as they are called from here on."""
    names, change = [], llada._calls.Calls.change

    def noted(self, function, *arguments):
        names.append(function.__name__)
        return change(self, function, *arguments)

    monkeypatch.setattr(llada._calls.Calls, "change", noted)
    return names


def test_the_library_steps(monkeypatch):
    engine = model("gqa_group")
    with engine.decoder(PROMPT, **OPTIONS) as dec, engine.decoder(PROMPT, **OPTIONS) as other:
        names = called(monkeypatch)
        dec.step()
        dec.run_block()
        dec.run()
        assert names == ["llada_decoder_step", "llada_decoder_run_block", "llada_decoder_run"]
        dec.run()
        dec.run_block()  # after the end there is nothing to do
        assert dec.finished and len(names) == 3
        names.clear()
        forwards = []
        other.run(lambda dec: forwards.append(dec.forwards))
        assert names == ["llada_decoder_step"] * len(forwards) and forwards[-1] == dec.forwards
        assert np.array_equal(dec.canvas, other.canvas) and dec.events == other.events


def test_blocks_end_alike_however_they_are_run():
    """In one call, step by step for a callback, a rule or a trace."""
    for policy in (llada.Policy.quality(mbe_window=2), llada.Policy.speedy(), llada.Policy.low_confidence()):
        ways = [model("mini_like").decoder(PROMPT, policy, **OPTIONS, eos_early_stop=False) for _ in range(4)]
        ways[2].rule = lambda dec: None
        ways[3].record()
        while not ways[0].finished:
            for number, dec in enumerate(ways):
                dec.run_block((lambda dec: None) if number == 1 else None)
            assert len({(dec.active, dec.forwards, dec.phase, dec.canvas.tobytes()) for dec in ways}) == 1
        assert all(dec.finished for dec in ways)


# -- What the library knows is asked of it


def test_locks_and_policy_are_the_library_s(gqa):
    with gqa.decoder(PROMPT, llada.Policy.speedy(threshold=0.1 + 0.2, seed=2**64 - 1), **OPTIONS) as dec:
        call = llada._abi.lib.llada_decoder_lock
        with dec._calls.held() as handle:
            llada.errors.call(call, handle, 9, True)
        assert dec.locked == {9} and dec.fork().locked == {9}
        assert dec.policy == llada.Policy.speedy(threshold=0.3, seed=2**64 - 1)  # as float32 has it
        assert dec.fork(llada.Policy.low_confidence(top_k=3)).policy == llada.Policy.low_confidence(top_k=3)
