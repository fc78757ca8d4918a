"""A server that has more to do than it takes: limits, turns, clients that go away, memory that runs short, its end."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

import llada
from conftest import ROOT
from serving import ADDITION, PATIENCE, TINY, endless, served

QUALITY = llada.Policy.quality()


@pytest.fixture(scope="module")
def model():
    with llada.Model.load(TINY, threads=1) as model:
        yield model


def read(connection):
    """All that comes until the other side closes."""
    with connection:
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def test_many_at_once_are_answered_as_alone(model):
    questions = [f"What is {number} plus {3 * number}?" for number in range(100, 124)]
    with served(TINY, "--running", 8) as server, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(server.chat, questions))
        meters = server.until(lambda meters: meters["llada_answers_running"] == 0)
    for question, answer in zip(questions, answers):
        own = model.generate(question, QUALITY)
        assert answer.choices[0].message.content == own.text and answer.usage.forwards == own.forwards
    steps, batches = meters["llada_step_seconds_count"], meters["llada_step_answers_sum"]
    assert batches == meters["llada_forwards_total"] and batches / steps > 2  # they did run together
    assert meters['llada_step_answers_bucket{le="8.0"}'] == steps


def test_who_comes_too_many_is_told_when_to_come_again():
    with served(TINY, "--requests", 2, "--running", 1) as server:
        opened = [server.open(endless()) for _ in range(2)]
        server.until(lambda meters: meters["llada_requests_open"] == 2)
        with pytest.raises(openai.RateLimitError) as refused:
            server.chat()
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
        assert refused.value.code == "overloaded" and refused.value.type == "requests"
        for connection in opened:
            connection.close()
        server.until(lambda meters: meters["llada_requests_open"] == 0)
        assert server.chat().choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_decoder(stream):
    with served() as server:
        connections = [server.open(endless(stream=stream, n=2)) for _ in range(3)]
        server.until(lambda meters: meters["llada_answers_running"] == 6)
        for connection in connections:
            connection.close()
        meters = server.until(lambda meters: meters["llada_answers_running"] == meters["llada_requests_open"] == 0)
        assert meters["llada_clients_gone_total"] == 3
        assert meters["llada_step_answers_sum"] < 6 * 1000  # none ran to its end


def test_clients_that_wait_and_go_away_leave_no_trace():
    with served(TINY, "--running", 1) as server:
        first = server.open(endless())
        server.until(lambda meters: meters["llada_answers_running"] == 1)
        others = [server.open(endless(n=4)) for _ in range(5)]
        server.until(lambda meters: meters["llada_requests_open"] == 6)
        for connection in others:
            connection.close()
        server.until(lambda meters: meters["llada_requests_open"] == 1 and meters["llada_answers_waiting"] == 0)
        first.close()


def test_a_client_of_many_requests_does_not_keep_another_waiting():
    """One has seven requests in line; who comes after them is served second."""
    with served(TINY, "--running", 1) as server:
        done = []

        def ask(key, number):
            server.client(key).chat.completions.create(**endless(max_tokens=64))
            done.append(key)

        greedy = [threading.Thread(target=ask, args=("greedy", number)) for number in range(7)]
        server.client("late"), server.client("greedy")
        for thread in greedy:
            thread.start()
        server.until(lambda meters: meters["llada_requests_open"] == 7)
        ask("late", 0)
        for thread in greedy:
            thread.join()
        assert done.index("late") <= 4


def test_memory_that_runs_short_is_shared(model):
    """Five long answers where the keys and values of three have room: some are put aside, none is lost or differs."""
    own = model.generate("Count.", QUALITY, gen_length=128, logit_bias={983: -100.0})
    need = (24 + 128) * 2 * 4 * 2 * 32 * 4  # positions, K and V, layers, heads, head_dim, bytes
    with served(TINY, "--cache", 3 * need) as server, ThreadPoolExecutor(5) as pool:
        ask = endless(max_tokens=128)
        differing = [{**ask, "messages": [{"role": "user", "content": "Count." + " " * space}]} for space in range(5)]
        answers = list(pool.map(lambda each: server.client().chat.completions.create(**each), differing))
        meters = server.until(lambda meters: meters["llada_answers_running"] == 0)
    assert meters["llada_answers_put_aside_total"] > 0
    assert answers[0].choices[0].message.content == own.text
    for space, answer in enumerate(answers):
        question = "Count." + " " * space
        own = model.generate(question, QUALITY, gen_length=128, logit_bias={983: -100.0})
        assert answer.choices[0].message.content == own.text and answer.usage.completion_tokens == 128


def test_an_answer_that_no_memory_suffices_for():
    with served(TINY, "--cache", 4 * 65536) as server:
        with pytest.raises(openai.InternalServerError, match="memory") as refused:
            server.client().chat.completions.create(**endless())
        assert refused.value.status_code == 503 and refused.value.code == "out_of_memory"
        # One that fits is answered all the same.
        assert server.chat().choices[0].finish_reason == "stop"


def test_a_long_prompt_is_read_in_pieces(model):
    """So that others go on meanwhile; and its answer is the same."""
    question = "Count from 3 to 12. " * 200
    ids = model.encode_prompt(question)
    assert len(ids) > 3 * 512
    with served() as server:
        answer = server.chat(question, max_tokens=64, n=2)
        own = model.generate(question, QUALITY, gen_length=64)
        assert [each.message.content for each in answer.choices] == [own.text] * 2
        assert answer.usage.prompt_tokens_details.cached_tokens == 0
        meters = server.meters()
        assert meters["llada_step_answers_sum"] == answer.usage.forwards + (len(ids) - 1) // 512
        assert server.chat(question, max_tokens=64).usage.prompt_tokens_details.cached_tokens >= len(ids) - 32


def test_a_request_that_takes_too_long():
    with served(TINY, "--seconds", 0.5) as server:
        with pytest.raises(openai.InternalServerError) as refused:
            server.client().chat.completions.create(**endless())
        assert refused.value.status_code == 504 and refused.value.code == "timeout"
        with pytest.raises(openai.APIError, match=r"longer than 0\.5 seconds"):
            for chunk in server.client().chat.completions.create(**endless(stream=True)):
                assert chunk.choices[0].finish_reason is None
        server.until(lambda meters: meters["llada_answers_running"] == 0)


def test_a_reader_who_does_not_read_is_not_waited_for():
    """The answer ends, and gives its decoder back; the connection ends with its time."""
    with served(TINY, "--seconds", 1, "--max-tokens", 4096) as server:
        body = endless(stream=True, logprobs=True, top_logprobs=20, llada={"draft": True}, n=8)
        connection = server.open(body)
        server.until(lambda meters: meters["llada_answers_running"] == 8)
        assert server.chat().choices[0].finish_reason == "stop"
        server.until(lambda meters: meters["llada_answers_running"] == meters["llada_requests_open"] == 0)
        connection.close()


def test_bodies_that_break_off():
    with served() as server:
        for part in (b"", b"POST", b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"):
            socket.create_connection(("127.0.0.1", server.port), PATIENCE).sendall(part)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.sendall(head + b'Content-Length: 1000\r\n\r\n{"model"')
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.sendall(head + b"Content-Length: many\r\n\r\n{}")
            assert b"400" in read(connection)
        random.seed(6)
        whole = json.dumps({"model": "tiny-2.1", "messages": [{"role": "user", "content": ADDITION}]}).encode()
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(random.randrange(1, 5)):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
            status, _, answer = server.post(bytes(damaged)[: random.randrange(1, len(damaged) + 1)])
            assert status in (200, 400, 404) and ("choices" in answer or answer["error"]["message"])
        server.until(lambda meters: meters["llada_requests_open"] == 0)
        assert server.chat().choices[0].finish_reason == "stop"


def test_sigterm_lets_what_runs_finish():
    with served(TINY, "--running", 1) as server:
        running = [server.open(endless(max_tokens=200)) for _ in range(2)]  # one runs, one waits
        idle = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        server.until(lambda meters: meters["llada_requests_open"] == 2 and meters["llada_answers_running"] == 1)
        server.process.send_signal(signal.SIGTERM)
        for connection in running:
            head, _, body = read(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and json.loads(body)["usage"]["completion_tokens"] == 200
        assert server.end() == (0, "")
        idle.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1)


def test_ctrl_c():
    with served() as server:
        connection = server.open(endless(max_tokens=64))
        server.until(lambda meters: meters["llada_requests_open"] == 1)
        assert server.stop(signal.SIGINT) == (130, "")
        assert b"200 OK" in read(connection)


@pytest.mark.parametrize(
    "options, said",
    [
        (("/nowhere",), "/nowhere"),
        ((TINY, "--running", "0"), "--running is 0"),
        ((TINY, "--host", "no.such.host.invalid"), ""),
        ((ROOT / "Tests" / "Fixtures" / "conformance" / "gqa_group",), "tokenizer.json"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(options, said):
    command = [sys.executable, "-m", "llada.serve", *map(str, options), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    lines = [
        line for line in done.stderr.splitlines() if "CheckpointWarning" not in line and "warnings.warn" not in line
    ]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert lines[-1].startswith("python -m llada.serve: ") and said in lines[-1]


def test_a_port_that_is_taken():
    with served() as server:
        command = [sys.executable, "-m", "llada.serve", str(TINY), "--port", str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 1 and "in use" in done.stderr and len(done.stderr.splitlines()) == 1


def test_time_goes_by_without_requests():
    """A server at rest does nothing."""
    with served() as server:
        server.chat()

        def used():
            with open(f"/proc/{server.process.pid}/stat") as stat:
                return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))

        before = used()
        time.sleep(1)
        assert used() - before <= 5  # hundredths of a second
