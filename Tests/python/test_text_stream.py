"""Text that may still change: what is settled stays, and joined it is the text of the tokens."""

from __future__ import annotations

import threading

import pytest

import llada
from conftest import CHECKPOINTS, ROOT, model
from test_text import FIXTURES, worded  # noqa: F401

POLICIES = {
    "2.0": llada.Policy.low_confidence(),
    "S": llada.Policy.speedy(),
    "Q": llada.Policy.quality(),
    "MBE": llada.Policy.quality(mbe_window=2),
    "sampled": llada.Policy.speedy(temperature=1.5, seed=3, mbe_window=3),
}
TEXT = "né 中文 👩‍👩‍👧‍👦 \ufffd end"


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1", threads=1) as opened:
        yield opened


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("mask", [None, "░"])
def test_settled_text_is_the_output_s(tiny, policy, mask):
    for question in ("What is 638 plus 4613?", "Give JSON with keys name, age and pet. Ann is 31 and has a cat."):
        dec = tiny.decoder(question, POLICIES[policy], gen_length=96)
        given = list(tiny.text_stream(mask=mask).follow(dec))
        assert "".join(settled for settled, _ in given) == dec.text == tiny.tokenizer.decode(dec.tokens, True)
        assert given[-1].draft == ""
        assert "638" not in question or any(draft for _, draft in given)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["ling", "gpt2"])
def test_broken_characters_are_given_as_decode_gives_them(worded, name, policy):  # noqa: F811
    """A model that knows nothing writes tokens at random: parts of characters, control tokens, masks."""
    random = worded(name)
    chosen = POLICIES[policy].replace(temperature=1.0, seed=1)
    for skip in (True, False):
        dec = random.decoder([5, 6, 7], chosen, gen_length=32, block_length=8, eos_early_stop=False)
        text = ""
        for settled, _ in random.text_stream(skip_control=skip, mask="░").follow(dec):
            text += settled
            whole = random.tokenizer.decode(dec.tokens, skip)
            assert whole.startswith(text) and len(whole) - len(text) <= 3
        assert text == random.tokenizer.decode(dec.tokens, skip)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_models_without_a_tokenizer_say_so(name):
    with pytest.raises(llada.TokenizerError):
        model(name).text_stream()


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.json")))
def test_tokens_one_by_one(worded, name):  # noqa: F811
    opened = worded(name)
    ids = opened.tokenizer.encode(TEXT)
    stream, text, whole = opened.text_stream(), "", opened.tokenizer.decode(ids)
    assert whole.endswith(TEXT)
    for id in ids:
        text += stream.push([id])
        assert whole.startswith(text)
    assert text == whole and stream.finish() == ""
    for end in range(len(ids)):
        assert stream.push(ids[:end]) + stream.finish() == opened.tokenizer.decode(ids[:end])
    with pytest.raises(llada.InvalidArgumentError):
        stream.push([int(ids[0]), opened.vocab_size])
    assert stream.finish() == ""  # nothing was taken


def test_in_a_batch_in_callbacks_and_in_rules(tiny):
    decoders = [tiny.decoder(f"What is {n} plus 25?", POLICIES["MBE"], gen_length=64) for n in (17, 38, 146)]
    streams = [tiny.text_stream() for _ in decoders]
    texts = [""] * 3
    while working := [dec for dec in decoders if not dec.finished]:
        llada.step_many(working)
        for n, dec in enumerate(decoders):
            texts[n] += streams[n].update(dec).settled
    assert texts == [dec.text for dec in decoders]
    seen = []
    stream = tiny.text_stream()

    def rule(dec):
        seen.append(stream.update(dec).settled)

    answer = tiny.generate("What is 17 plus 25?", POLICIES["MBE"], gen_length=64, rule=rule, callback=rule)
    assert "".join(seen) == answer.text == texts[0]


def test_what_is_taken_back_is_refused(tiny):
    dec = tiny.decoder("What is 638 plus 4613?", llada.Policy.speedy(), gen_length=96)
    stream = tiny.text_stream()
    dec.run_block()
    dec.run_block()
    first = stream.update(dec).settled
    fork = dec.fork()
    rest = "".join(settled for settled, _ in stream.follow(fork))
    assert first and first + rest == fork.text
    with pytest.raises(llada.StateError, match="at token"):
        stream.update(dec)
    assert stream.update(fork) == ("", "")
    fork.truncate(fork.prompt_length // 32 * 32 + 32)
    with pytest.raises(llada.StateError):
        stream.update(fork)
    stream.finish()
    assert stream.update(fork).settled == fork.text
    assert list(stream.follow(dec.run()))[0].settled.startswith(dec.text[len(fork.text) :])


def test_what_a_stream_is_given(tiny):
    for wrong in ("a\0b", 7):
        with pytest.raises(ValueError):
            tiny.text_stream(mask=wrong)
    stream = tiny.text_stream()
    dec = tiny.decoder("Hello", gen_length=32)
    dec.close()
    with pytest.raises(llada.ClosedError):
        stream.update(dec)
    # One thread at a time.
    with stream._held():
        raised = []

        def push():
            try:
                stream.push([5])
            except llada.BusyError as problem:
                raised.append(problem)

        thread = threading.Thread(target=push)
        thread.start()
        thread.join()
    assert raised
