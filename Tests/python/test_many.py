"""Many decoders at a time: in order, lazily, and each as if it were alone."""

from __future__ import annotations

import gc
import io
import json
import shutil
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, ROOT, decoder, load, model, runs
from llada.progress import Tally

PROMPTS = [[(7 * i + n) % 100 for i in range(3 + 5 * n)] for n in range(10)]
OPTIONS = {"policy": llada.Policy.speedy(), "block_length": 8, "gen_length": 16}


def same(one: llada.Generation, other: llada.Generation) -> bool:
    """In all but what it cost: whether a block rides in the forward before it is decided by cost, and so by company."""
    return one.tokens.tolist() == other.tokens.tolist() and all(
        getattr(one, name) == getattr(other, name)
        for name in ("text", "forwards", "commits", "prefills", "edits", "finish_reason")
    )


@pytest.fixture(scope="module")
def alone() -> list:
    return [model("gqa_group").generate(prompt, **OPTIONS) for prompt in PROMPTS]


# -- step_many, forward_many


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_company_does_not_show(name):
    """Runs of all kinds at once, of several policies, block lengths and prompts; they leave as they finish."""
    chosen = runs(name)[::29]
    decoders = [decoder(run) for run in chosen]
    traces = [[] for _ in chosen]
    while working := [i for i, dec in enumerate(decoders) if not dec.finished]:
        for i, step in zip(working, llada.step_many(decoders[i] for i in working)):
            traces[i].append((step, decoders[i].confidences.tobytes(), decoders[i].canvas.tobytes()))
    for run, trace in zip(chosen, traces):
        dec = decoder(run)
        assert [(step, dec.confidences.tobytes(), dec.canvas.tobytes()) for step in dec] == trace, run["id"]


def test_rules_and_phases_mix(gqa):
    def few(dec):
        return dec.masked[:1]

    def make():
        return [gqa.decoder(prompt, **OPTIONS, rule=few if n % 2 else None) for n, prompt in enumerate(PROMPTS[:6])]

    together, separate = make(), make()
    for decoders in (together, separate):
        decoders[1].forward()
        decoders[2].forward()
        decoders[2].propose()
    assert llada.step_many(together) == [dec.step() for dec in separate]
    llada.forward_many(together)
    for dec in separate:
        dec.forward()
    assert [dec.phase for dec in together] == ["forwarded"] * 6
    for one, other in zip(together, separate):
        assert one.propose() == other.propose() and one.apply() == other.apply()
        assert np.array_equal(one.canvas, other.canvas)
    assert llada.step_many([]) == []


def test_what_is_refused(gqa):
    one, other = (gqa.decoder(prompt, **OPTIONS) for prompt in PROMPTS[:2])
    for many in (llada.step_many, llada.forward_many):
        with pytest.raises(ValueError, match=r"decoders\[2\] is decoders\[0\]"):
            many([one, other, one])
        with pytest.raises(ValueError, match="different models"):
            many([one, model("mini_like").decoder([1, 2])])
        with pytest.raises(TypeError, match=r"decoders\[1\]"):
            many([one, gqa])
        with pytest.raises(llada.StateError, match="finished"):
            many([one, gqa.decoder(PROMPTS[0], **OPTIONS).run()])
        gone = gqa.decoder(PROMPTS[0], **OPTIONS)
        gone.close()
        with pytest.raises(llada.ClosedError):
            many([one, gone])
    assert one.forwards == 0 and one.phase == "ready"


def test_a_busy_one(gqa):
    decoders = [gqa.decoder(prompt, **OPTIONS) for prompt in PROMPTS[:3]]
    held, done = threading.Event(), threading.Event()

    def rule(dec):
        held.set()
        done.wait(30)

    decoders[1].rule = rule
    thread = threading.Thread(target=lambda: llada.step_many([decoders[1]]))
    thread.start()
    held.wait(30)
    with pytest.raises(llada.BusyError):
        llada.step_many(decoders)
    done.set()
    thread.join()
    decoders[1].rule = None
    for dec in (decoders[0], decoders[2]):
        dec.step()
    llada.step_many(decoders)  # all are free again


def test_cancelling_one(gqa, alone):
    decoders = [gqa.decoder(prompt, **OPTIONS) for prompt in PROMPTS]
    decoders[3].cancel()
    with pytest.raises(llada.Cancelled):
        llada.step_many(decoders)
    while working := [dec for dec in decoders if not dec.finished]:
        llada.step_many(working)
    assert all(map(same, (dec.result for dec in decoders), alone))


def test_two_threads_with_batches_of_their_own(alone):
    """Also with one decoder in both: one of the two is refused, and all are as they should be."""
    shared = model("gqa_group")
    decoders = [shared.decoder(prompt, **OPTIONS) for prompt in PROMPTS]

    def work(mine):
        while working := [dec for dec in mine if not safely(lambda dec=dec: dec.finished)]:
            safely(lambda: llada.step_many(working))

    def safely(act):
        try:
            return act()
        except (llada.BusyError, llada.StateError):  # the other one has it, or has finished it meanwhile
            return False

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (decoders[:6], decoders[:4:-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(map(same, (dec.result for dec in decoders), alone))


# -- generate_many


@pytest.mark.parametrize("in_flight", [1, 3, 100])
def test_generate_many(gqa, alone, in_flight):
    answers = gqa.generate_many(PROMPTS, **OPTIONS, in_flight=in_flight)
    assert isinstance(answers, list) and len(answers) == len(PROMPTS) and all(map(same, answers, alone))
    assert all(map(same, gqa.stream_many(PROMPTS, **OPTIONS, in_flight=in_flight), alone))
    assert len(list(gqa.stream_many(iter(PROMPTS), **OPTIONS, in_flight=in_flight))) == len(PROMPTS)


def test_with_everything(gqa):
    """A cache, a rule, a policy for each, a callback that ends some."""
    policies = [llada.Policy.quality(temperature=n % 3 / 2, seed=n) for n in range(len(PROMPTS))]
    options = {"block_length": 8, "gen_length": 32, "rule": lambda dec: dec.masked[:3] if dec.forwards % 2 else None}

    def until_third(dec):
        return llada.STOP if dec.forwards == 3 and dec.prompt_length % 2 == 0 else None

    plain = [gqa.generate(p, policy, **options, callback=until_third) for p, policy in zip(PROMPTS, policies)]
    with gqa.prefix_cache(1 << 24) as cache:
        many = list(
            gqa.stream_many(
                PROMPTS,
                policies,
                **options,
                callback=until_third,
                prefix_cache=cache,
                in_flight=4,
            )
        )
    assert all(map(same, many, plain))
    assert None in {answer.finish_reason for answer in many} and len({answer.finish_reason for answer in many}) > 1


def test_text():
    with llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1", threads=1) as tiny:
        questions = [f"What is {n} plus {3 * n}?" for n in (12, 34, 51)]
        answers = list(tiny.stream_many(questions, llada.Policy.speedy(), gen_length=64))
        assert [a.text for a in answers] == [
            tiny.generate(q, llada.Policy.speedy(), gen_length=64).text for q in questions
        ]
        assert [a.text.rsplit(" ", 1)[1] for a in answers][:2] == ["48", "136"]


def test_prompts_are_drawn_as_there_is_room(gqa, monkeypatch):
    alive, most, drawn = weakref.WeakSet(), [], []
    make = llada.Model.decoder

    def counted(self, *arguments, **named):
        dec = make(self, *arguments, **named)
        alive.add(dec)
        most.append(sum(not dec.closed for dec in alive))
        return dec

    def prompts():
        for prompt in PROMPTS:
            drawn.append(len(drawn))
            yield prompt

    monkeypatch.setattr(llada.Model, "decoder", counted)
    answers = gqa.stream_many(prompts(), **OPTIONS, in_flight=3)
    assert not drawn
    next(answers)
    assert 3 <= len(drawn) < len(PROMPTS)
    answers.close()
    assert all(dec.closed for dec in alive)
    assert len(list(gqa.stream_many(prompts(), **OPTIONS, in_flight=3))) == len(PROMPTS)
    assert max(most) == 3


@pytest.mark.parametrize("problem", [ZeroDivisionError, KeyboardInterrupt])
def test_what_a_callback_raises(gqa, problem):
    cache = gqa.prefix_cache(1 << 24)
    seen = weakref.WeakSet()

    def callback(dec):
        seen.add(dec)
        if dec.forwards == 3:
            raise problem

    with pytest.raises(problem):
        list(gqa.stream_many(PROMPTS, **OPTIONS, prefix_cache=cache, callback=callback, in_flight=4))
    assert all(dec.closed for dec in seen)
    cache.clear()
    assert cache.info.bytes == 0


def test_ctrl_c():
    """A real SIGINT, between steps."""
    program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}, {str(ROOT / "Tests" / "python")!r}]
from conftest import load
with load("mini_like") as model, model.prefix_cache(1 << 28) as cache:
    try:
        list(model.stream_many(
            [[1, 2, 3]] * 3, block_length=32, gen_length=4000, prefix_cache=cache,
            callback=lambda dec: print("step", flush=True),
        ))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    cache.clear()  # not before: the traceback may hold a call's handle
    assert cache.info.bytes == 0
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "step\n"
    child.send_signal(2)
    rest = child.communicate(timeout=60)[0]
    assert child.returncode == 0 and rest.endswith("interrupted\n")


def test_bad_prompts_and_arguments(gqa):
    answers = gqa.stream_many([*PROMPTS[:3], [5, 4000]], **OPTIONS, in_flight=1)
    for prompt in PROMPTS[:3]:
        assert same(next(answers), gqa.generate(prompt, **OPTIONS))
    with pytest.raises(ValueError, match=r"prompts\[3\].*4000"):
        next(answers)
    for bad in ("What is 1 plus 1?", {"role": "user"}):
        with pytest.raises(TypeError, match="prompts must be several"):
            gqa.stream_many(bad)
    with pytest.raises(TypeError):
        gqa.stream_many(5)
    with pytest.raises(ValueError, match="in_flight"):
        gqa.stream_many(PROMPTS, in_flight=0)
    with pytest.raises(TypeError, match="policy"):
        gqa.stream_many(PROMPTS, [3] * len(PROMPTS))
    with pytest.raises(ValueError, match="2 policies for 10 prompts"):
        gqa.stream_many(PROMPTS, [llada.Policy()] * 2)
    with pytest.raises(ValueError, match="2 policies and more prompts"):
        list(gqa.stream_many(iter(PROMPTS), [llada.Policy()] * 2))
    with pytest.raises(TypeError, match="progress"):
        gqa.stream_many(PROMPTS, progress=print)
    closed = load("gqa_group")
    closed.close()
    with pytest.raises(llada.ClosedError):
        closed.stream_many(PROMPTS)
    assert list(gqa.stream_many([])) == []
    # A canvas on which nothing is masked has nothing to wait for.
    assert list(gqa.stream_many([range(32)], gen_length=0, infill=True))[0].forwards == 0


# -- on_error


class Broken:
    """A rule that raises at the n-th forward of prompts of even length."""

    def __init__(self, forward: int) -> None:
        self.forward = forward

    def __call__(self, dec):
        if dec.forwards >= self.forward and dec.prompt_length % 2 == 0:
            raise ZeroDivisionError(f"after {dec.prompt_length} tokens")


@pytest.mark.parametrize("in_flight", [1, 3, 100])
@pytest.mark.parametrize("forward", [1, 3])
def test_a_bad_prompt_costs_itself(gqa, alone, in_flight, forward):
    """Of some the decoder cannot be made, of others the rule raises, at once or in the midst of the others' steps."""
    prompts = [*PROMPTS[:4], [5, 4000], *PROMPTS[4:], "a text, without a tokenizer", object()]
    expected = [*alone[:4], ValueError, *alone[4:], llada.TokenizerError, ValueError]
    options = {**OPTIONS, "rule": Broken(forward), "in_flight": in_flight}
    for answers in (
        gqa.generate_many(prompts, on_error="return", **options),
        list(gqa.stream_many(iter(prompts), on_error="return", **options)),
    ):
        assert len(answers) == len(prompts)
        broken = 0
        for prompt, answer, right in zip(prompts, answers, expected):
            if isinstance(right, type):
                assert isinstance(answer, right)
            elif len(prompt) % 2 == 0 and right.forwards >= forward:
                assert isinstance(answer, ZeroDivisionError) and str(answer) == f"after {len(prompt)} tokens"
                broken += 1
            else:
                assert same(answer, right)
        assert broken >= 3
        assert "prompts[" not in str(answers[4]) and "4000" in str(answers[4])


def test_numbers_that_are_not_finite(gqa, tmp_path):
    """One forward serves all, and fails for all: it is done again for each."""
    folder = tmp_path / "model"
    shutil.copytree(CONFORMANCE / "gqa_group", folder)
    name = "model.word_embeddings.weight"
    file = next(path for path in folder.glob("*.safetensors") if name.encode() in path.read_bytes())
    data = bytearray(file.read_bytes())
    end = 8 + int.from_bytes(data[:8], "little")
    place = json.loads(data[8:end])[name]
    width = (place["data_offsets"][1] - place["data_offsets"][0]) // place["shape"][0]
    start = end + place["data_offsets"][0] + 77 * width
    data[start : start + width] = b"\xff" * width  # NaN, in each of the types
    file.write_bytes(data)
    run = runs("gqa_group")[0]
    with llada.Model.load(folder, mask_token_id=run["mask_id"], eos_token_id=run["eos_id"], threads=1) as hurt:
        prompts = [[1, 2, 3], [4, 77, 5], [6, 7], [77], [8, 9]]
        with pytest.raises(llada.NumericError):
            hurt.generate_many(prompts, **OPTIONS)
        answers = hurt.generate_many(prompts, on_error="return", **OPTIONS)
        for prompt, answer in zip(prompts, answers):
            if 77 in prompt:
                assert isinstance(answer, llada.NumericError)
            else:
                assert same(answer, gqa.generate(prompt, **OPTIONS))


def test_what_was_answered_is_kept(gqa, alone):
    """An exception comes in its place, as from an executor's map."""

    def prompts():
        yield from PROMPTS[:6]
        raise OSError("the file ends early")

    answers = gqa.stream_many(prompts(), **OPTIONS, in_flight=100)
    for right in alone[:6]:
        assert same(next(answers), right)
    with pytest.raises(OSError, match="ends early"):
        next(answers)
    for on_error in "raise", "return":
        with pytest.raises(OSError) as raised:
            gqa.generate_many(prompts(), **OPTIONS, on_error=on_error)
        assert len(raised.value.answers) == 6 and all(map(same, raised.value.answers, alone))

    bad = [*PROMPTS[:3], [4000], *PROMPTS[3:]]
    drawn = []
    answers = gqa.stream_many((drawn.append(prompt) or prompt for prompt in bad), **OPTIONS, in_flight=4)
    for right in alone[:3]:
        assert same(next(answers), right)
    with pytest.raises(ValueError, match=r"prompts\[3\]"):
        next(answers)
    assert len(drawn) == 4  # none after it
    with pytest.raises(ValueError) as raised:
        gqa.generate_many(bad, **OPTIONS)
    assert all(map(same, raised.value.answers, alone)) and len(raised.value.answers) == 3

    def interrupted(dec):
        if dec.prompt_length == len(PROMPTS[2]):
            raise KeyboardInterrupt

    for on_error in "raise", "return":
        with pytest.raises(KeyboardInterrupt) as stopped:
            gqa.generate_many(PROMPTS, **OPTIONS, callback=interrupted, in_flight=1, on_error=on_error)
        assert len(stopped.value.answers) == 2 and all(map(same, stopped.value.answers, alone))
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        gqa.stream_many(PROMPTS, on_error="ignore")


def test_cancelling_ends_all(gqa):
    with pytest.raises(llada.Cancelled):
        gqa.generate_many(PROMPTS, **OPTIONS, callback=lambda dec: dec.cancel(), on_error="return")


def test_exceptions_keep_no_memory():
    """Their frames have held the decoders' handles."""

    def rule(dec):
        if dec.forwards == 2:
            dec.ban(4000)

    with load("gqa_group") as own:
        list(own.stream_many(PROMPTS, **OPTIONS))
        before = own.memory_used
        answers = own.generate_many(PROMPTS, **OPTIONS, rule=rule, on_error="return")
        assert any(isinstance(answer, ValueError) for answer in answers)
        assert own.memory_used == before


def test_nothing_stays(gqa):
    seen = weakref.WeakSet()
    list(gqa.stream_many(PROMPTS, **OPTIONS, callback=seen.add))
    gc.collect()
    assert not seen


def test_the_bar(gqa, capsys, monkeypatch):
    list(gqa.stream_many(PROMPTS, **OPTIONS))
    assert capsys.readouterr().err == ""  # not a terminal
    list(gqa.stream_many(iter(PROMPTS), **OPTIONS, progress=True))
    drawn = capsys.readouterr().err
    assert "answering 0, " in drawn and "tokens/s" in drawn and "per forward" in drawn
    assert drawn.endswith("\r")  # wiped

    stream = io.StringIO()
    tally = Tally("answering", total=4, stream=stream, delay=0.0)
    tally.finished(gqa.generate(PROMPTS[0], **OPTIONS))
    tally.show([])
    tally.wipe()
    assert "░ 1/4, " in stream.getvalue() and "█" in stream.getvalue()
