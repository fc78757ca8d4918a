"""Prefix cache, forks and truncation: what comes out is what comes out without them, and nothing is left behind."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, decoder, load, model, runs

BLOCK = 8
LONG = [(7 * i + i // 5) % 100 for i in range(61)]
# One token takes 2 * layers * key/value heads * head size numbers of 4 bytes.
TOKEN_BYTES = 2 * 3 * 2 * 16 * 4


def rest(dec: llada.Decoder) -> list:
    """Everything the rest of a run shows, to the bit."""
    trace = []
    for step in dec:
        trace.append((step, dec.predictions.tobytes(), dec.confidences.tobytes(), dec.canvas.tobytes()))
    return [*trace, dec.canvas.tobytes(), dec.states.tobytes(), dec.finish_reason]


def options(**changes) -> dict:
    return {
        "policy": llada.Policy.speedy(),
        "block_length": BLOCK,
        "gen_length": 24,
        "eos_early_stop": False,
        **changes,
    }


# -- Prefix cache


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_cache_changes_nothing(name):
    """Runs of all policies through one cache, each twice: the second time its prompt is there."""
    with model(name).prefix_cache(1 << 26) as cache:
        for run in runs(name)[::31]:
            plain = rest(decoder(run))
            assert rest(decoder(run, prefix_cache=cache)) == plain, run["id"]
            again = decoder(run, prefix_cache=cache)
            again.forward()
            assert (
                again.reused_positions
                >= len(run["prompt"]) // run["block_length"] * run["block_length"] - run["block_length"]
            )
            assert rest(again)[-3:] == plain[-3:], run["id"]


def test_what_is_reused(gqa):
    cache = gqa.prefix_cache(1 << 24)
    plain = gqa.generate(LONG, **options())
    first = gqa.generate(LONG, **options(), prefix_cache=cache)
    second = gqa.generate(LONG, **options(), prefix_cache=cache)
    assert plain.tokens.tolist() == first.tokens.tolist() == second.tokens.tolist()
    assert (plain.reused_positions, first.reused_positions) == (0, 0)
    assert second.reused_positions >= 56
    # The prompt, 7 blocks of it whole, is prefilled along with the first step: the rest is the same work.
    assert first.computed_positions - second.computed_positions == second.reused_positions
    info = cache.info
    assert info.hits >= 1 and info.lookups >= info.hits and info.reused_tokens == second.reused_positions
    assert info.max_bytes == 1 << 24 and 0 < info.bytes <= info.max_bytes and info.evicted_blocks == 0
    assert info.bytes == info.blocks * BLOCK * TOKEN_BYTES  # no decoder holds any more
    assert f"{info.blocks} blocks, {info.reused_tokens} tokens reused" in repr(cache)


def test_the_budget_holds_and_pins_stay(gqa):
    system = LONG[:24]
    with gqa.prefix_cache(14 * BLOCK * TOKEN_BYTES) as cache:
        assert cache.pin(system, BLOCK) == 0  # nobody has computed it
        gqa.decoder([*system, 1], **options(), prefix_cache=cache).forward()
        assert cache.pin(np.array(system), block_length=BLOCK) == 24
        assert cache.info.pinned_blocks == 3 and "(3 pinned)" in repr(cache)
        for seed in range(5):
            prompt = [(x + seed + 1) % 100 for x in LONG[:50]]
            answer = gqa.generate(prompt, **options(), prefix_cache=cache)
            assert answer.tokens.tolist() == gqa.generate(prompt, **options()).tokens.tolist()
            assert cache.info.bytes <= cache.info.max_bytes
        assert cache.info.evicted_blocks > 0
        cache.clear()
        assert cache.info.blocks == 3
        dec = gqa.decoder([*system, 1], **options(), prefix_cache=cache)
        dec.forward()
        assert dec.reused_positions == 24
        dec.close()
        assert cache.unpin(system, BLOCK) == 24
        cache.clear()
        assert cache.info.blocks == cache.info.bytes == cache.info.pinned_blocks == 0


def test_no_room(gqa):
    cache = gqa.prefix_cache(10 * BLOCK * TOKEN_BYTES)
    holder = gqa.decoder(LONG[:50], **options(), prefix_cache=cache)
    holder.forward()
    waiting = gqa.decoder([9, *LONG[:40]], **options(), prefix_cache=cache)
    with pytest.raises(llada.OutOfMemoryError, match="prefix cache may take"):
        waiting.forward()
    with pytest.raises(MemoryError):
        list(gqa.generate_many([[9, *LONG[:40]]], **options(), prefix_cache=cache))
    holder.close()
    assert rest(waiting) == rest(gqa.decoder([9, *LONG[:40]], **options()))


def test_a_cache_that_does_not_fit(gqa):
    with pytest.raises(ValueError, match="max_bytes"):
        gqa.prefix_cache(0)
    with pytest.raises(TypeError, match="max_bytes"):
        gqa.prefix_cache("512 MB")
    cache = gqa.prefix_cache(1 << 20)
    with pytest.raises(ValueError, match="another model"):
        model("mini_like").generate([1, 2], prefix_cache=cache)
    with pytest.raises(ValueError, match="use_cache"):
        gqa.decoder([1, 2], use_cache=False, prefix_cache=cache)
    with pytest.raises(TypeError, match="prefix_cache must be"):
        gqa.decoder([1, 2], prefix_cache={})
    with pytest.raises(ValueError, match="block"):
        cache.pin([1, 2], block_length=0)
    with pytest.raises(ValueError, match="flat"):
        cache.pin("text")
    cache.close()
    assert cache.closed and "closed" in repr(cache)
    for use in (cache.clear, lambda: cache.info, lambda: cache.pin([1]), lambda: gqa.decoder([1], prefix_cache=cache)):
        with pytest.raises(llada.ClosedError, match="prefix cache"):
            use()


def test_decoders_keep_their_cache():
    short = load("gqa_group")
    plain = rest(short.decoder(LONG, **options()))
    cache = short.prefix_cache(1 << 24)
    decoders = [short.decoder(LONG, **options(), prefix_cache=cache) for _ in range(2)]
    cache.close()
    short.close()
    assert rest(decoders[0]) == plain
    decoders[1].forward()
    assert decoders[1].reused_positions == 56


def test_nothing_stays(gqa):
    cache = gqa.prefix_cache(1 << 24)
    decoders = [gqa.decoder(LONG, **options(), prefix_cache=cache)]
    decoders[0].forward()
    decoders += [decoders[0].fork() for _ in range(3)]
    llada.step_many(decoders)
    seen = [weakref.ref(dec) for dec in decoders]
    cache.clear()
    assert cache.info.blocks == 0 and cache.info.bytes > 0  # they hold theirs
    decoders.clear()
    gc.collect()
    assert all(ref() is None for ref in seen)
    assert cache.info.bytes == 0
    gone = weakref.ref(cache._handle)
    del cache
    assert gone() is None


def test_threads_on_one_cache():
    """Several host threads, each with decoders of its own, one of them on a cache too small for all they make."""
    shared = model("gqa_group", threads=2)
    prompts = [LONG[: 20 + 5 * i] + [i] for i in range(8)] * 3
    alone = [shared.generate(prompt, **options()).tokens.tolist() for prompt in prompts[:8]] * 3
    for blocks in (1000, 60):
        with shared.prefix_cache(blocks * BLOCK * TOKEN_BYTES) as cache, ThreadPoolExecutor(4) as pool:
            answers = pool.map(
                lambda prompt: shared.generate(prompt, **options(), prefix_cache=cache).tokens.tolist(), prompts
            )
            assert list(answers) == alone
            info = cache.info
            assert info.reused_tokens > 0 and info.bytes == info.blocks * BLOCK * TOKEN_BYTES <= info.max_bytes
            cache.clear()
            assert cache.info.bytes == 0


# -- Forks


@pytest.mark.parametrize("cached", [False, True])
def test_a_fork_goes_the_same_way(gqa, cached):
    cache = gqa.prefix_cache(1 << 24) if cached else None
    plain = rest(gqa.decoder(LONG, **options()))
    dec = gqa.decoder(LONG, **options(), prefix_cache=cache)
    forks = []
    while not dec.finished:
        forks.append(dec.fork())
        dec.forward()
        forks.append(dec.fork())
        dec.propose()
        forks.append(dec.fork())
        assert forks[-1].proposal == dec.proposal and forks[-1].phase == "proposed"
        dec.apply()
    for number, fork in enumerate(forks):
        assert fork.computed_positions == fork.reused_positions == 0
        assert rest(fork) == plain[number // 3 :]


def test_a_fork_is_a_decoder_of_its_own(gqa):
    calls = []

    def rule(dec):
        calls.append(dec)
        return dec.masked[:2]

    dec = gqa.decoder(LONG[:57], **options(), rule=rule)
    dec.step()
    dec.lock(dec.active.stop - 1)
    fork = dec.fork()
    assert fork.locked == dec.locked == {dec.active.stop - 1}
    assert fork.rule is rule and fork.policy == dec.policy and type(fork) is type(dec)
    fork.unlock(dec.active.stop - 1)
    fork.set(masked := int(dec.masked[0]), 5)
    fork.rule = None
    assert dec.locked and dec.canvas[masked] == gqa.mask_token_id and dec.rule is rule
    before = len(calls)
    fork.step()
    assert len(calls) == before  # its own rule went
    other = dec.fork()
    other.step()
    assert calls[-1] is other
    dec.close()
    other.run()
    assert other.finished and dec.closed and not fork.closed
    with pytest.raises(llada.ClosedError):
        dec.fork()


def test_forks_draw_by_their_seeds():
    shared = model("mini_like")
    drawn = llada.Policy.speedy(temperature=1.0)
    trunk = shared.decoder(list(range(1, 30)), **options(policy=drawn))
    trunk.step()
    same = rest(trunk.fork())
    assert rest(trunk.fork(seed=0)) == same == rest(trunk.fork(drawn))
    texts = {trunk.fork(seed=seed).run().tokens.tobytes() for seed in range(6)}
    assert len(texts) > 1
    assert {trunk.fork(drawn.replace(seed=seed)).run().tokens.tobytes() for seed in range(6)} == texts
    fork = trunk.fork(llada.Policy.quality(), seed=3)
    assert fork.policy == llada.Policy.quality(seed=3) and trunk.policy == drawn
    with pytest.raises(TypeError, match="policy must be"):
        trunk.fork(3)
    with pytest.raises(ValueError, match="seed"):
        trunk.fork(seed=-1)


# -- Truncation


def test_truncate(gqa):
    dec = gqa.decoder(LONG, **options())
    plain = rest(dec)
    first = len(LONG) // BLOCK * BLOCK
    end = len(dec.canvas)
    for start in range(end - BLOCK, first - 1, -BLOCK):
        dec.truncate(start)
        assert not dec.finished and dec.active.start == start and dec.settled_length == start
        before = dec.computed_positions
        dec.forward()
        assert dec.computed_positions - before <= 2 * BLOCK
        assert rest(dec)[-3:] == plain[-3:]
    dec.truncate(end)  # nothing to forget
    assert dec.finished
    for bad in (first - BLOCK, first + 1, end + BLOCK):
        with pytest.raises(ValueError, match="truncate"):
            dec.truncate(bad)
    with pytest.raises(ValueError, match="position"):
        dec.truncate(-BLOCK)


def test_truncate_forgets_locks(gqa):
    dec = gqa.decoder(LONG, **options())
    first, last = len(LONG), len(LONG) + 20
    dec.lock(2)
    dec.lock(first - 1)  # of the prompt, which is not forgotten
    dec.lock(first + 1)
    dec.lock(last)
    dec.truncate(first // BLOCK * BLOCK)
    assert dec.locked == {2, first - 1}
    assert rest(dec) == rest(gqa.decoder(LONG, **options()))
