"""A server under load, for SECONDS: 64 clients that ask, read slowly, go away, and send what is no request.

    python Tests/serve/load.py SECONDS [MODEL]

Every answer that somebody waited for is compared with the model's own, bit by bit. At the end the server must have
nothing left, and its memory must not have grown since the first quarter.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tests" / "python")]

import openai

import llada
from serving import TINY, served

CLIENTS = 64
PATIENCE = 1200
QUESTIONS = [f"What is {number} plus {3 * number}?" for number in range(100, 140)]
NUMBER = {"type": "integer", "minimum": 0, "maximum": 999}
NUMBERS = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
SUM = {"type": "function", "function": {"name": "sum", "description": "Adds", "parameters": NUMBERS}}
POLICIES = {"speedy": llada.Policy.speedy(), "quality": llada.Policy.quality()}


class Load:
    """What the clients do, and what came of it."""

    def __init__(self, server, name, answers, seconds):
        self.server, self.name, self.answers = server, name, answers
        self.end = time.monotonic() + seconds
        self.counts = Counter()
        self.waits = []
        self.client = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=1000, timeout=PATIENCE)

    async def one(self, number):
        """A client, until the end."""
        draw = random.Random(number)
        doings = {
            self.ask: 8,
            self.stream: 6,
            self.read_slowly: 2,
            self.call: 1,
            self.leave: 4,
            self.leave_at_once: 2,
            self.break_off: 2,
        }
        doings[self.send_nonsense] = 2
        while time.monotonic() < self.end:
            doing = draw.choices(list(doings), list(doings.values()))[0]
            began = time.monotonic()
            await doing(draw)
            self.counts[doing.__name__] += 1
            if doing == self.ask:
                self.waits.append(time.monotonic() - began)
            await asyncio.sleep(draw.random() * 0.2)

    def question(self, draw, **options):
        policy, question = draw.choice(list(POLICIES)), draw.choice(QUESTIONS)
        messages = [{"role": "user", "content": question}]
        asked = {"model": self.name, "messages": messages, "max_tokens": 128, **options}
        return asked, {"policy": policy}, self.answers[policy, question]

    async def ask(self, draw):
        asked, ours, expected = self.question(draw, n=draw.choice((1, 1, 1, 3)))
        answer = await self.client.chat.completions.create(**asked, extra_body={"llada": ours})
        for choice in answer.choices:
            assert choice.message.content == expected, (choice.message.content, expected)

    async def call(self, draw):
        """A function that has to be called, by a grammar."""
        asked, ours, _ = self.question(draw, tools=[SUM], tool_choice="required", parallel_tool_calls=False)
        answer = await self.client.chat.completions.create(**asked, extra_body={"llada": ours})
        (called,) = answer.choices[0].message.tool_calls
        said = json.loads(called.function.arguments)
        assert called.function.name == "sum" and set(said) == {"a", "b"}, called
        assert all(isinstance(each, int) and 0 <= each < 1000 for each in said.values()), said

    async def stream(self, draw, pause=0.0):
        asked, ours, expected = self.question(draw, stream=True, logprobs=True, top_logprobs=5)
        text = ""
        async for chunk in await self.client.chat.completions.create(
            **asked, extra_body={"llada": {**ours, "draft": True}}
        ):
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
            await asyncio.sleep(pause)
        assert text == expected, (text, expected)

    async def read_slowly(self, draw):
        await self.stream(draw, 0.3)

    async def leave(self, draw):
        """In the midst of an answer that would go on."""
        asked, ours, _ = self.question(draw, stream=True, logit_bias={"983": -100})
        asked["max_tokens"] = 1024
        answer = await self.client.chat.completions.create(**asked, extra_body={"llada": ours})
        left = draw.randrange(1, 4)
        async for _ in answer:
            left -= 1
            if left == 0:
                break
        await answer.close()

    async def sent(self, body, wait):
        """Bytes on a connection of its own, which is closed after a while."""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[: int(len(body) * wait[0])])
        await writer.drain()
        try:
            return await asyncio.wait_for(reader.read(1 << 16), wait[1])
        except asyncio.TimeoutError:
            return b""
        finally:
            writer.close()

    async def leave_at_once(self, draw):
        asked, ours, _ = self.question(draw, logit_bias={"983": -100})
        await self.sent(json.dumps({**asked, "max_tokens": 1024, "llada": ours}).encode(), (1, draw.random()))

    async def break_off(self, draw):
        """Before the body has come."""
        asked, ours, _ = self.question(draw)
        await self.sent(json.dumps(asked).encode(), (draw.random(), draw.random() * 0.5))

    async def send_nonsense(self, draw):
        asked, _, _ = self.question(draw)
        body = bytearray(json.dumps(asked).encode())
        for _ in range(draw.randrange(1, 6)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        answer = await self.sent(bytes(body), (1, PATIENCE))
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200")), answer

    async def watch(self):
        """Resident bytes, once a second."""
        seen = []
        while time.monotonic() < self.end:
            lines = Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines()
            (line,) = [line for line in lines if line.startswith("VmRSS")]
            seen.append(int(line.split()[1]) * 1024)
            await asyncio.sleep(1)
        return seen

    async def run(self):
        memory = asyncio.ensure_future(self.watch())
        await asyncio.gather(*(self.one(number) for number in range(CLIENTS)))
        await self.client.close()
        return await memory


def main():
    seconds, path = float(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else TINY
    with llada.Model.load(path) as model:
        answers = {
            (name, question): model.generate(question, policy, gen_length=128).text
            for name, policy in POLICIES.items()
            for question in QUESTIONS
        }
    # The cache is too small for all, so that some are put aside, and there are more clients than requests may be.
    with served(path, "--requests", 56, "--cache", 3 << 19, "--seconds", PATIENCE) as server:
        load = Load(server, path.name, answers, seconds)
        memory = asyncio.run(load.run())
        meters = server.until(lambda meters: meters["llada_requests_open"] == meters["llada_answers_running"] == 0)
    counts, waits = load.counts, sorted(load.waits)
    refused = int(meters.get('llada_requests_total{path="/v1/chat/completions",status="429"}', 0))
    quarter = len(memory) // 4
    first, last = max(memory[: max(quarter, 1)]), max(memory[-max(quarter, 1) :])
    print(f"{sum(counts.values())} requests of {CLIENTS} clients in {seconds:.0f} s: {dict(counts)}")
    print(f"{refused} were told to come again; {meters['llada_clients_gone_total']:.0f} clients went away;")
    print(f"{meters['llada_answers_put_aside_total']:.0f} answers were put aside; ", end="")
    print(f"{meters['llada_step_answers_sum'] / meters['llada_step_seconds_count']:.1f} answers in a step")
    print(f"a wait: median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s")
    print(f"memory: at most {first / 1e6:.0f} MB in the first quarter, {last / 1e6:.0f} MB in the last")
    assert last < first * 1.1 + 8e6, "the memory grew"
    assert meters["llada_answers_waiting"] == 0
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
