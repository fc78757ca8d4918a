"""Bad input of every kind ends in an exception that says what is wrong, and the process lives."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import shutil

import numpy as np
import pytest

import llada
from conftest import CONFORMANCE, load, model
from llada import Policy

PROMPT = [1, 2, 3]
MASK = 127  # of gqa_group
VOCABULARY = 128


def alive():
    assert model("gqa_group").generate(PROMPT, block_length=8, gen_length=8).forwards


# -- Opening


@pytest.fixture
def checkpoint(tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(CONFORMANCE / "gqa_group" / name, tmp_path / name)
    return tmp_path


def refused(kind, folder, status, *words, **options):
    with pytest.raises(kind) as caught:
        llada.Model.load(folder, **{"mask_token_id": MASK, "eos_token_id": 126, "threads": 1, **options})
    error = caught.value
    assert isinstance(error, llada.Error) and isinstance(error, kind)
    assert error.name == f"LLADA_ERROR_{status}" and error.status < 0
    for word in words:
        assert word in str(error), str(error)


def test_no_such_folder(tmp_path):
    refused(FileNotFoundError, tmp_path / "nowhere", "IO", "nowhere")
    refused(OSError, tmp_path, "IO", "config.json")
    with pytest.raises(ValueError):
        llada.Model.load("a\0b")
    with pytest.raises(TypeError):
        llada.Model.load(7)


def test_broken_files(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    weights = (checkpoint / "model.safetensors").read_bytes()

    (checkpoint / "config.json").write_text("{")
    refused(llada.CheckpointError, checkpoint, "JSON", "config.json")
    (checkpoint / "config.json").write_text(json.dumps({**config, "hidden_size": -4}))
    refused(llada.CheckpointError, checkpoint, "CONFIG", "hidden_size", "-4")
    (checkpoint / "config.json").write_text(json.dumps({**config, "intermediate_size": 95}))
    refused(llada.CheckpointError, checkpoint, "TENSOR", "95")
    (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "gpt2", "architectures": ["GPT2"]}))
    refused(NotImplementedError, checkpoint, "UNSUPPORTED", "gpt2")
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(llada.Error, match="safetensors"):
        llada.Model.load(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(llada.Error, match="safetensors"):
        llada.Model.load(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    refused(OSError, checkpoint, "IO", "model.safetensors")


def test_bad_options():
    folder = CONFORMANCE / "gqa_group"
    for options in (
        {"dtype": "f64"},
        {"dtype": None},
        {"blas": "mkl"},
        {"kv_dtype": "f16"},
        {"kv_dtype": "int4"},
        {"threads": 0},
        {"threads": -1},
        {"threads": 2**40},
        {"mask_token_id": -2},
        {"mask_token_id": VOCABULARY},
        {"eos_token_id": 2**31},
        {"eos_token_id": VOCABULARY},
    ):
        with pytest.raises((ValueError, llada.Error)):
            llada.Model.load(folder, **{"mask_token_id": MASK, "eos_token_id": 126, **options})
    for options in ({"threads": 1.5}, {"threads": True}, {"mask_token_id": "mask"}):
        with pytest.raises(TypeError):
            llada.Model.load(folder, **options)
    alive()


def test_progress():
    fractions = []
    load("gqa_group", progress=fractions.append).close()
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and all(0 <= f <= 1 for f in fractions)
    with pytest.raises(llada.Stopped):
        load("gqa_group", progress=lambda fraction: llada.STOP)
    with pytest.raises(ZeroDivisionError):
        load("gqa_group", progress=lambda fraction: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        load("gqa_group", progress=lambda fraction: (_ for _ in ()).throw(KeyboardInterrupt))
    alive()


def test_an_unknown_mask_id():
    with llada.Model.load(CONFORMANCE / "gqa_group", threads=1) as unknown:
        assert unknown.mask_token_id is None
        assert unknown.logits(PROMPT).shape == (3, VOCABULARY)
        with pytest.raises(llada.SpecialTokenError, match="mask"):
            unknown.decoder(PROMPT)


# -- Logits and prompts


@pytest.mark.parametrize(
    "ids, kind",
    [
        ([VOCABULARY], ValueError),
        ([-1], ValueError),
        ([2**31], ValueError),
        ([2**70], (ValueError, TypeError)),
        ([[1, 2]], ValueError),
        ([1.0], TypeError),
        (["a"], TypeError),
        ([True], TypeError),
        (None, (TypeError, ValueError)),
        (7, ValueError),
        ([[1], [2, 3]], (TypeError, ValueError)),
        ({"a": 1}, (TypeError, ValueError)),
    ],
)
def test_bad_ids(gqa, ids, kind):
    with pytest.raises(kind):
        gqa.logits(ids)
    with pytest.raises(kind):
        gqa.decoder(ids)
    alive()


def test_ids_of_any_integer_kind(gqa):
    expected = gqa.logits([1, 2, 3, 4], block_length=4)
    for form in (
        (1, 2, 3, 4),
        np.array([1, 2, 3, 4], np.uint8),
        np.array([4, 3, 2, 1], np.int64)[::-1],
        range(1, 5),
        np.array([[1, 9], [2, 9], [3, 9], [4, 9]])[:, 0],
    ):
        assert np.array_equal(gqa.logits(form, block_length=4), expected)


@pytest.mark.parametrize("length", [0, -1, 2**31 - 1, -(2**31), 2**31])
def test_bad_block_lengths(gqa, length):
    for call in (lambda: gqa.logits(PROMPT, block_length=length), lambda: gqa.decoder(PROMPT, block_length=length)):
        try:
            call()
        except (ValueError, MemoryError, NotImplementedError):
            continue
        assert length > 0
    alive()


@pytest.mark.parametrize("length", [0, -1, 2**31 - 1, 2**31])
def test_bad_generation_lengths(gqa, length):
    with pytest.raises((ValueError, MemoryError)):
        gqa.decoder(PROMPT, gen_length=length)
    alive()


def test_a_mask_in_the_prompt(gqa):
    with pytest.raises(llada.SpecialTokenError, match="127"):
        gqa.generate([1, MASK, 2])


def test_no_tokenizer(gqa):
    assert gqa.tokenizer is None
    for prompt in ("hello", [{"role": "user", "content": "hello"}]):
        with pytest.raises(llada.TokenizerError, match="tokenizer"):
            gqa.generate(prompt)
    with gqa.decoder(PROMPT) as dec, pytest.raises(llada.TokenizerError):
        _ = dec.text


@pytest.mark.parametrize(
    "changes, kind",
    [
        ({"threshold": float("nan")}, ValueError),
        ({"threshold": "high"}, (TypeError, ValueError)),
        ({"steps": 2**31}, ValueError),
        ({"steps": 1.5}, TypeError),
        ({"num_to_transfer": -1}, ValueError),
        ({"max_post_steps": -1}, ValueError),
        ({"temperature": -1.0}, ValueError),
        ({"temperature": float("inf")}, ValueError),
        ({"temperature": 1.0, "top_k": -1}, ValueError),
        ({"temperature": 1.0, "top_p": -0.5}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": 2**64}, ValueError),
        ({"mbe_window": 0}, ValueError),
        ({"mbe_window": -1}, ValueError),
        ({"mbe_rounds": -1}, ValueError),
        ({"kind": "greedy"}, ValueError),
        ({"editing_threshold": float("nan")}, ValueError),
        ({"penalty_lambda": float("nan")}, ValueError),
    ],
    ids=str,
)
def test_bad_policies(gqa, changes, kind):
    with pytest.raises(kind):
        gqa.decoder(PROMPT, policy=Policy.quality().replace(**changes))
    alive()


def test_not_a_policy(gqa):
    with pytest.raises(TypeError, match="Policy"):
        gqa.decoder(PROMPT, policy="quality")
    with pytest.raises(TypeError):
        Policy.quality(threshhold=0.5)
    with pytest.raises(TypeError):
        Policy.quality().replace(nothing=1)


# -- Decoders


@pytest.fixture
def dec(gqa):
    with gqa.decoder(PROMPT, block_length=8, gen_length=16) as decoder:
        yield decoder


def test_out_of_order(dec):
    for call in (
        dec.propose,
        dec.apply,
        lambda: dec.predictions,
        lambda: dec.confidences,
        lambda: dec.candidates(4),
        lambda: dec.logits(4),
        lambda: dec.proposal,
        lambda: dec.propose([4]),
    ):
        with pytest.raises(llada.StateError):
            call()
    dec.run()
    for call in (dec.forward, dec.propose, dec.apply, dec.step):
        with pytest.raises(llada.StateError):
            call()
    assert dec.run() is dec  # nothing left to do is no error
    assert list(dec) == []


@pytest.mark.parametrize("position", [-1, -(2**31), 24, 2**31 - 1, 2**31, 2**32 + 4])
def test_positions_off_the_canvas(dec, position):
    dec.forward()
    for call in (
        lambda: dec.set(position, 1),
        lambda: dec.mask(position),
        lambda: dec.lock(position),
        lambda: dec.unlock(position),
        lambda: dec.ban(1, position),
        lambda: dec.candidates(position),
        lambda: dec.logits(position),
        lambda: dec.propose([position]),
        lambda: dec.propose([(position, 1)]),
    ):
        with pytest.raises(ValueError):
            call()
    assert not dec.locked
    dec.run()


def test_positions_that_are_none(dec):
    dec.forward()
    for call in (
        lambda: dec.set(4.0, 1),
        lambda: dec.mask("4"),
        lambda: dec.lock(None),
        lambda: dec.propose([4.5]),
        lambda: dec.propose(4),
        lambda: dec.propose([(4, 1.5)]),
        lambda: dec.set(True, 1),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises((TypeError, ValueError)):
        dec.propose([(4,)])


@pytest.mark.parametrize("token", [-1, -5, VOCABULARY, 2**31 - 1, 2**31, 2**32 + 1])
def test_tokens_outside_the_vocabulary(dec, token):
    dec.forward()
    for call in (lambda: dec.set(4, token), lambda: dec.ban(token), lambda: dec.propose([(4, token)])):
        with pytest.raises(ValueError):
            call()
    dec.run()


def test_proposals_that_cannot_be(dec):
    dec.forward()
    before = dec.propose()
    for edits in (
        [(0, 5)],  # the prompt
        [(12, 5)],  # not active
        [(4, 5), (4, 6)],  # twice
    ):
        with pytest.raises(ValueError):
            dec.propose(edits)
        assert dec.proposal == before  # a failed call changes nothing
    dec.lock(4)
    with pytest.raises(ValueError):
        dec.propose([4])


def test_masking_what_must_stay(dec):
    with pytest.raises(ValueError):
        dec.mask(1)
    dec.run_block()
    with pytest.raises(ValueError):
        dec.mask(4)


def test_banning_everything(dec):
    """Refused or not, it ends."""
    dec.forward()
    try:
        for token in range(VOCABULARY):
            dec.ban(token)
        dec.run()
        assert dec.finished
    except llada.Error:
        alive()


def test_candidates_of_nothing(dec):
    dec.forward()
    for k in (-1, 2**63):
        with pytest.raises(ValueError):
            dec.candidates(4, k)
    with pytest.raises(ValueError):
        dec.candidates(20)  # not active


# -- After the end


def test_a_closed_model():
    closed = load("gqa_group")
    closed.close()
    closed.close()
    assert closed.closed and "closed" in repr(closed)
    for call in (
        lambda: closed.logits(PROMPT),
        lambda: closed.generate(PROMPT),
        lambda: closed.decoder(PROMPT),
        lambda: closed.encode_prompt("hello"),
        lambda: closed.__enter__(),
    ):
        with pytest.raises(llada.ClosedError, match="closed"):
            call()
    assert closed.vocab_size == VOCABULARY  # known already


def test_a_closed_decoder(gqa):
    dec = gqa.decoder(PROMPT)
    dec.forward()
    canvas, logits = dec.canvas, dec.logits(5)
    dec.close()
    dec.close()
    dec.cancel()
    names = [name for name in dir(llada.Decoder) if not name.startswith("_")]
    arguments = {
        "set": (4, 1),
        "mask": (4,),
        "lock": (4,),
        "unlock": (4,),
        "ban": (1,),
        "unban": (1,),
        "set_logit_bias": (1, 2.0),
        "candidates": (4,),
        "logits": (4,),
        "propose": ([4],),
        "truncate": (0,),
        "keep_candidates": (0,),
        "save": ("unused",),
        "disable_expert": (1, 0),
        "routing": (1,),
        "hidden": (1,),
    }
    for name in names:
        if name in ("close", "closed", "cancel", "rule", "mask_token_id"):
            continue
        with pytest.raises(llada.ClosedError, match="closed"):
            value = getattr(dec, name)
            value(*arguments.get(name, ()))
    with pytest.raises(llada.ClosedError):
        list(dec)
    with pytest.raises(llada.ClosedError):
        dec.__enter__()
    gc.collect()
    assert canvas[0] == 1 and logits.shape == (VOCABULARY,)  # what was taken stays


def test_a_decoder_outlives_its_model():
    expected = model("gqa_group").decoder(PROMPT, block_length=8, gen_length=16).run().tokens.tolist()
    with load("gqa_group") as short:
        dec = short.decoder(PROMPT, block_length=8, gen_length=16)
    del short
    gc.collect()
    assert dec.run().tokens.tolist() == expected


def test_garbage_is_collected():
    import weakref

    for _ in range(20):
        some = load("gqa_group")
        dec = some.decoder(PROMPT, block_length=8, gen_length=16)
        dec.step()
        watched = weakref.ref(some._handle), weakref.ref(dec._calls._handle)
        del some, dec
        # At once, without waiting for the cycle collector: there are gigabytes behind these.
        assert [handle() for handle in watched] == [None, None]


# -- What looks right and is not


@pytest.mark.parametrize(
    "prompt", [None, b"bytes", {1, 2}, {"role": "user", "content": "one message"}, ["two", "prompts"]]
)
def test_what_is_no_prompt_is_refused_in_words(prompt):
    with pytest.raises(TypeError, match="a prompt is a str, a conversation"):
        model("gqa_group").generate(prompt)


def test_token_ids_of_several_are_refused_in_words():
    with pytest.raises(llada.InvalidArgumentError, match="of different lengths"):
        model("gqa_group").generate([[1], [1, 2]])
    with pytest.raises(TypeError, match="Policy.threshold must be a number, not 'high'"):
        model("gqa_group").generate(PROMPT, policy=Policy.speedy(threshold="high"))


def test_handles_are_neither_copied_nor_pickled(tmp_path):
    some = model("gqa_group")
    with some.prefix_cache(1 << 20) as cache, some.decoder(PROMPT) as dec:
        for handle in (some, cache, dec):
            for attempt in (copy.copy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot be copied or pickled"):
                    attempt(handle)
        for read in (some.restore, cache.load):
            with pytest.raises(FileNotFoundError):
                read(tmp_path / "missing")


def test_one_where_several_are_wanted():
    with pytest.raises(TypeError, match="record must be True or False"):
        model("gqa_group").generate_many([PROMPT], record="run.jsonl")
    with pytest.raises(TypeError, match="answers must be several"):
        model("gqa_group").choose(PROMPT, "answer")


@pytest.mark.parametrize("reward, kind", [(None, TypeError), (float("nan"), llada.InvalidArgumentError)])
def test_a_reward_is_a_finite_number(reward, kind):
    with pytest.raises(kind, match="reward (must be|is)"):
        model("gqa_group").rollouts(PROMPT, 2, gen_length=8, reward=lambda answer: reward)


def test_the_bound_of_no_tokens():
    assert model("gqa_group").elbo([]).mean == 0


# -- The exceptions themselves


def test_exceptions_travel():
    from llada import _abi, errors

    for status in range(_abi.ERROR_NUMERIC, 0):
        error = errors.from_status(status, "what went wrong")
        same = pickle.loads(pickle.dumps(error))
        assert (type(same), str(same), same.status, same.name) == (type(error), "what went wrong", status, error.name)
        assert isinstance(error, llada.Error) and error.name.startswith("LLADA_ERROR_")
    assert isinstance(errors.from_status(_abi.ERROR_OUT_OF_MEMORY), MemoryError)
    assert isinstance(errors.from_status(_abi.ERROR_INVALID_ARGUMENT), ValueError)
    assert isinstance(errors.from_status(_abi.ERROR_UNSUPPORTED), NotImplementedError)
