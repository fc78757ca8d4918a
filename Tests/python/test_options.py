"""The arguments of a generation: written once, the same for all that take them, and checked."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import llada
from conftest import model

PROMPT = [1, 2, 3]
ENTRIES = ("generate", "decoder", "generate_many", "stream_many")


def ask(entry: str, **options):
    prompt = [PROMPT] if entry.endswith("many") else PROMPT
    return getattr(model("gqa_group"), entry)(prompt, **options)


@pytest.mark.parametrize("entry", [*ENTRIES, "rollouts"])
def test_unknown_arguments_are_named(entry):
    with pytest.raises(TypeError, match=rf"{entry}\(\) got an unexpected keyword argument 'gen_lenght'; .*gen_length"):
        ask(entry, gen_lenght=8)
    with pytest.raises(TypeError, match="'ruel', 'use_cash'"):
        ask(entry, use_cash=False, ruel=None)


def test_rollouts_take_what_makes_sense_for_them():
    for name in ("infill", "use_cache", "prefix_cache", "rule"):
        with pytest.raises(TypeError, match=name):
            ask("rollouts", **{name: None})


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_option_arrives(entry):
    """Each is refused by whoever uses it, so each gets there."""
    for options, kind, words in (
        ({"block_length": 0}, ValueError, "block_length"),
        ({"gen_length": -1}, ValueError, "gen_length"),
        ({"prefix_cache": {}}, TypeError, "prefix_cache"),
        ({"rule": 5}, TypeError, "rule"),
        ({"use_cache": False, "prefix_cache": model("gqa_group").prefix_cache(1 << 20)}, ValueError, "use_cache"),
    ):
        with pytest.raises(kind, match=words):
            next(iter(ask(entry, **options)))  # asked for an answer, a stream is
    with pytest.raises(llada.SpecialTokenError):
        model("gqa_group").decoder([1, 127], gen_length=8)
    assert model("gqa_group").decoder([1, 127], gen_length=8, infill=True).masked[0] == 1


def test_one_default_for_the_end_of_an_answer():
    """Decoding stops where the answer has ended, whoever asks."""
    engine, options = model("mini_like"), {"block_length": 8, "gen_length": 64}
    whole = engine.generate(PROMPT, **options, eos_early_stop=False)
    end = int(whole.tokens[9])
    with llada.Model.load(engine._path, mask_token_id=engine.mask_token_id, eos_token_id=end, threads=1) as ends:
        expected = ends.generate(PROMPT, **options)
        assert expected.finish_reason == "eos" and len(expected.tokens) < 64
        assert expected.forwards < ends.generate(PROMPT, **options, eos_early_stop=False).forwards
        others = [
            ends.decoder(PROMPT, **options).run().result,
            *ends.generate_many([PROMPT], **options),
            *ends.rollouts(PROMPT, 1, **options).generations,
        ]
        for other in others:
            assert np.array_equal(other.tokens, expected.tokens) and other.forwards == expected.forwards
        with ends.decoder(PROMPT, **options) as dec:
            assert dec.record().start.options["eos_early_stop"] is True


def test_signatures_name_what_is_not_in_the_options():
    for entry in ENTRIES:
        parameters = inspect.signature(getattr(llada.Model, entry)).parameters
        assert list(parameters)[1:3] == ["prompts" if entry.endswith("many") else "prompt", "policy"]
        assert str(parameters["options"].annotation) == "Unpack[GenerationOptions]"
    assert list(llada.GenerationOptions.__annotations__) == [
        *llada.AnswerOptions.__annotations__,
        "infill",
        "use_cache",
        "prefix_cache",
        "rule",
        "logit_bias",
    ]
    for name in llada.GenerationOptions.__annotations__:
        assert re.search(rf"^\s+{name}: ", llada.GenerationOptions.__doc__, re.M)
