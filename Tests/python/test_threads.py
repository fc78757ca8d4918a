"""Models are shared, decoders are not, and closing while someone is at work frees nothing under them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import llada
from conftest import ROOT, load, model

PROMPT = list(range(1, 12))


def test_many_threads_on_one_model():
    shared = model("mini_like", threads=2)
    alone = [shared.generate(PROMPT[:n], block_length=8, gen_length=32).tokens.tolist() for n in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            together = pool.map(
                lambda n: shared.generate(PROMPT[:n], block_length=8, gen_length=32).tokens.tolist(), range(1, 9)
            )
            assert list(together) == alone
        rows = list(pool.map(lambda _: shared.logits(PROMPT, block_length=8), range(16)))
    assert all(np.array_equal(rows[0], row) for row in rows)


def test_two_threads_on_one_decoder():
    """Refused with BusyError or done, never both at once, never a crash; the canvas is the same in the end."""
    expected = (
        model("mini_like").decoder(PROMPT, block_length=8, gen_length=64, eos_early_stop=False).run().tokens.tolist()
    )
    dec = model("mini_like").decoder(PROMPT, block_length=8, gen_length=64, eos_early_stop=False)
    refusals = []

    def work():
        while True:
            try:
                if dec.finished:
                    return
                dec.step()
                _ = dec.canvas, dec.confidences, dec.states
            except llada.BusyError:
                refusals.append(1)
                time.sleep(0.0002)
            except llada.StateError:
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dec.tokens.tolist() == expected


def test_closing_while_at_work():
    for pause in (0.0, 0.001, 0.003, 0.01):
        short = load("mini_like")
        dec = short.decoder(PROMPT, block_length=32, gen_length=512, eos_early_stop=False)
        ended = []

        def work(dec=dec, ended=ended):
            try:
                dec.run()
            except (llada.Cancelled, llada.ClosedError) as end:
                ended.append(end)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(pause)
        dec.close()
        short.close()
        thread.join()
        assert len(ended) == 1


def test_closing_a_model_under_logits():
    short = load("mini_like", threads=2)
    ids = np.arange(1, 400) % 500
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(short.logits, ids)
        time.sleep(0.002)
        short.close()
        assert np.array_equal(first.result(), model("mini_like").logits(ids))


def test_cancel():
    dec = model("mini_like").decoder(PROMPT, block_length=8, gen_length=64, eos_early_stop=False)
    dec.cancel()
    with pytest.raises(llada.Cancelled):
        dec.step()
    dec.run()  # usable as before
    assert (
        dec.tokens.tolist()
        == model("mini_like").decoder(PROMPT, block_length=8, gen_length=64, eos_early_stop=False).run().tokens.tolist()
    )

    dec = model("mini_like").decoder(PROMPT, block_length=32, gen_length=2048, eos_early_stop=False)
    timer = threading.Timer(0.02, dec.cancel)
    timer.start()
    with pytest.raises(llada.Cancelled):
        dec.run()
    timer.join()
    assert not dec.finished


def test_ctrl_c():
    """A real SIGINT into a process that generates for a long time."""
    program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}, {str(ROOT / "Tests" / "python")!r}]
from conftest import load
options = {{"block_length": 32, "gen_length": 4000, "eos_early_stop": False}}
with load("mini_like") as model, model.decoder([1, 2, 3], **options) as dec:
    try:
        dec.run(lambda dec: print("step", flush=True))
    except KeyboardInterrupt:
        assert not dec.finished
        dec.step()
        print("interrupted", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "step\n"
    child.send_signal(2)
    rest = child.communicate(timeout=60)[0]
    assert child.returncode == 0 and rest.endswith("interrupted\n")


@pytest.mark.parametrize(
    "work",
    ["dec.run()", "[model.logits([5] * 4000) for _ in range(50)]", "llada.score_many(model, [sequence] * 400, 8)"],
)
def test_ctrl_c_within_one_call_of_the_library(work):
    """Python only gets a word in when the library calls it back, and must not lose the interrupt there."""
    program = f"""
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}, {str(ROOT / "Tests" / "python")!r}]
from conftest import load
import llada
options = {{"block_length": 32, "gen_length": 4000, "eos_early_stop": False}}
with load("mini_like") as model, model.decoder([1, 2, 3], **options) as dec:
    sequence = llada.Noised(range(1, 401), [[model.mask_token_id] * 400] * 20)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    began = time.monotonic()
    try:
        {work}
    except KeyboardInterrupt:
        assert time.monotonic() - began < 5 and not dec.finished
        dec.step()
        print("interrupted", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


@pytest.mark.parametrize("work", ["dec.forward()", "dec.run()", "llada.forward_many([dec])", "fork.step()"])
def test_ctrl_c_within_one_forward(work):
    """The forward over a long prompt, and over it again with the same outcome."""
    program = f"""
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}, {str(ROOT / "Tests" / "python")!r}]
from conftest import load
import llada
prompt = [i * 7 % 500 for i in range(4000)]
with load("mini_like", threads=1) as model, model.decoder(prompt, gen_length=32) as dec:
    fork = dec.fork()
    def interrupt():
        global sent
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
    threading.Timer(0.1, interrupt).start()
    try:
        {work}
    except KeyboardInterrupt:
        assert time.monotonic() - sent < 0.5 and dec.forwards == 0
        dec.run()
        with model.decoder(prompt, gen_length=32) as other:
            assert list(other.run().tokens) == list(dec.tokens)
        print("interrupted", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_leaving_with_a_thread_at_work():
    """The interpreter ends while a daemon thread is in the library: no crash on the way out."""
    program = f"""
import sys, threading
sys.path[:0] = [{str(ROOT / "bindings" / "python")!r}, {str(ROOT / "Tests" / "python")!r}]
from conftest import load
model = load("mini_like", threads=2)
dec = model.decoder([1, 2, 3], block_length=32, gen_length=4000, eos_early_stop=False)
threading.Thread(target=dec.run, daemon=True).start()
import time; time.sleep(0.1)
"""
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_after_fork():
    """A child goes on with a model its parent opened."""
    import os

    shared = model("mini_like", threads=2)
    expected = shared.generate(PROMPT, block_length=8, gen_length=16).tokens.tolist()
    child = os.fork()
    if child == 0:
        try:
            same = shared.generate(PROMPT, block_length=8, gen_length=16).tokens.tolist() == expected
        except BaseException:
            same = False
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")
