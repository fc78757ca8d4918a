"""A server in a process of its own, and what tests want to know of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import openai

from conftest import ROOT, heed_ctrl_c

TINY = ROOT / "examples" / "models" / "tiny-2.1"
ADDITION = "What is 17 plus 25?"
CARRY = "What is 638 plus 4613?"
PATIENCE = 20.0


class Served:
    """A server at work: `python -m llada.serve`."""

    def __init__(self, model=TINY, *options, **environment):
        self._clients = {}
        command = [sys.executable, "-m", "llada.serve", str(model), "--port", "0", *map(str, options)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python"), **environment}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_ctrl_c
        )
        line = self.process.stderr.readline()
        assert " at http://" in line, line + self.process.stderr.read()
        self.url = line.rpartition(" ")[2].strip()
        self.root = self.url[: -len("/v1")]
        self.port = int(re.search(r":(\d+)/", self.url)[1])

    def client(self, key="none"):
        """One for each key: making one takes a while."""
        if key not in self._clients:
            self._clients[key] = openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=PATIENCE)
        return self._clients[key]

    def chat(self, content=ADDITION, **options):
        messages = [{"role": "user", "content": content}]
        given = {"model": "tiny-2.1", "messages": messages, **options}
        return self.client().chat.completions.create(**given)

    def post(self, body, path="/v1/chat/completions", **headers):
        """Status, headers and JSON of the answer to any bytes."""
        headers = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        asked = urllib.request.Request(self.root + path, body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, json.loads(answer.read())
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers, json.loads(answer.read())

    def get(self, path):
        with urllib.request.urlopen(self.root + path, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def meters(self):
        """Name, with labels -> value."""
        lines = self.get("/metrics").splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    def until(self, condition):
        """Waits until the meters say so."""
        end = time.monotonic() + PATIENCE
        while not condition(meters := self.meters()):
            assert time.monotonic() < end, meters
            time.sleep(0.02)
        return meters

    def open(self, body):
        """A connection on which a request was sent, and no answer read."""
        text = json.dumps(body).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + text)
        return connection

    def stop(self, how=signal.SIGTERM):
        """The exit status, and what was said meanwhile."""
        self.process.send_signal(how)
        return self.end()

    def end(self):
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def served(*options, **environment):
    server = Served(*options, **environment)
    try:
        yield server
        assert server.process.poll() is not None or server.stop() == (0, "")
    finally:
        server.process.kill()
        server.process.communicate()


def endless(**options):
    """A request for an answer of many tokens: its end is banned."""
    return {
        "model": "tiny-2.1",
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": 2048,
        "logit_bias": {"983": -100},
        **options,
    }
