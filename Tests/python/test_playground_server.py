"""The playground's server: what it serves, and to whom. Asked over a socket, as anybody on the machine can."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import llada
from conftest import ROOT
from llada._origins import LOOPBACK
from llada.play import __main__ as play

MODEL = ROOT / "examples" / "models" / "tiny-2.1"


@pytest.fixture(scope="module")
def server():
    """(port, token) of the command, as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python"), "LLADA_LIBRARY": llada._abi.lib._name}
    command = [sys.executable, "-m", "llada.play", str(MODEL), "--no-browser"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    line = running.stdout.readline()
    found = re.fullmatch(r"The playground is at http://127\.0\.0\.1:(\d+)/([\w-]{32})/\n", line)
    assert found, line + running.stderr.read()
    yield int(found[1]), found[2]
    running.send_signal(signal.SIGINT)
    assert running.wait(10) in (0, 130, -signal.SIGINT) and running.stderr.read() == ""


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str):
    """(status, headers, body)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def call(server, name, **arguments):
    port, token = server
    body = json.dumps({"call": name, "arguments": arguments}).encode()
    status, _, told = ask(port, "POST", f"/{token}/call", body, Content_Type="application/json")
    return status, json.loads(told)


def test_it_serves_its_page_and_steps(server):
    port, token = server
    status, headers, body = ask(port, "GET", f"/{token}/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"<title>llada playground" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Referrer-Policy"] == "no-referrer"
    names = re.findall(rb'(?:src|href)="([\w.]+)"', body)
    assert names == [b"style.css", b"main.js"]
    seen, waiting = set(), [name.decode() for name in names]
    while waiting:  # all that these import is there
        name = waiting.pop()
        seen.add(name)
        status, headers, body = ask(port, "GET", f"/{token}/{name}")
        assert status == 200 and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Type"].startswith("text/javascript" if name.endswith(".js") else "text/css")
        assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", body)  # nothing from elsewhere
        waiting += {found.decode() for found in re.findall(rb'from "\./([\w.]+)"', body)} - seen - set(waiting)
    assert len(seen) == 13
    policy = call(server, "hello")[1]["models"][0]["presets"]["S"]
    question = {"prompt": "What is 17 plus 25?", "lanes": [{"policy": policy}], "options": {"gen_length": 32}}
    status, told = call(server, "ask", **question)
    while status == 200 and told["lanes"][0]["phase"] != "finished":
        status, told = call(server, "do", lanes=[0], action=["step"])
    with llada.Model.load(MODEL) as model:
        answer = model.generate("What is 17 plus 25?", llada.Policy.speedy(), gen_length=32)
    state = told["lanes"][0]
    text = "".join(state["texts"][str(token)] for token in state["canvas"][state["prompt"] :])
    assert text.split("<|endoftext|>")[0] == answer.text
    assert call(server, "do", lanes=[0], action=["step"])[0] == 400


def test_only_who_has_the_token_is_let_in(server):
    port, token = server
    for path in ("/", "/call", "/style.css", f"/{token[:-1]}/", f"/{token}x/", f"/x/{token}/", "/%20", "/%C3%A9"):
        for method in ("GET", "POST"):
            status, headers, body = ask(port, method, path, b"" if method == "POST" else None)
            assert status == 404 and token.encode() not in body, path
            assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_other_names_and_other_pages_are_turned_away(server):
    port, token = server
    page = f"/{token}/"
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"0.0.0.0:{port}",
        "",
        None,
    ):
        assert ask(port, "GET", page, Host=host)[0] in (400, 421), host
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", f"localhost:{port + 1}"):  # a tunnel's
        assert ask(port, "GET", page, Host=host)[0] == 200, host
        assert ask(port, "GET", page, Host=host, Origin=f"http://{host}")[0] == 200, host
    body = b'{"call": "hello", "arguments": {}}'
    kind = {"Content_Type": "application/json"}
    for origin in (
        "http://evil.example",
        f"http://evil.example:{port}",
        f"https://127.0.0.1:{port}",
        f"http://127.0.0.1:{port + 1}",
        f"http://localhost:{port}",
        "null",
        "",
        f"http://127.0.0.1:{port}/",
    ):
        assert ask(port, "POST", f"/{token}/call", body, Origin=origin, **kind)[0] == 403, origin
        assert ask(port, "GET", page, Origin=origin)[0] == 403, origin
    assert ask(port, "POST", f"/{token}/call", body, Origin=f"http://127.0.0.1:{port}", **kind)[0] == 200
    for site in ("cross-site", "same-site"):
        assert ask(port, "GET", page, Sec_Fetch_Site=site)[0] == 403, site
    for other in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert ask(port, "POST", f"/{token}/call", body, Content_Type=other)[0] == 415, other


def test_names_by_the_address_that_is_listened_at():
    assert play._names("127.0.0.1") == play._names("::1") == play._names("localhost") == LOOPBACK
    assert play._names("0.0.0.0") is None and play._names("::") is None  # whichever of the machine's names it is
    assert play._names("Box.Example") == {"box.example"}


def test_no_file_can_be_reached(server):
    port, token = server
    names = (
        "../server.py", "..%2fserver.py", "%2e%2e/server.py", "....//server.py", "/etc/passwd", "//etc/passwd",
        "%2fetc%2fpasswd", "style.css/..", "style.css%00", "page/style.css", "__init__.py", "index.html", "widget.js",
        "C:\\windows", "style.css/", "..", "call",
    )  # fmt: skip
    for name in names:
        status, _, body = ask(port, "GET", f"/{token}/{name}")
        assert status in (307, 400, 404, 405) and b"root:" not in body and b"import" not in body, name
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert ask(port, method, f"/{token}/")[0] in (400, 405), method
    for form in ("../../etc/passwd", "/etc/passwd", None, ["code"]):
        assert call(server, "save", lane=0, form=form)[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"call": "hello"}',
        b'{"call": ["hello"], "arguments": {}}',
        b'{"call": "hello", "arguments": 7}',
        b'{"call": "__class__", "arguments": {}}',
        b'{"call": "ask", "arguments": {"prompt": "\\ud800", "lanes": [{"policy": {"seed": NaN}}]}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_broken_calls_are_refused_in_words(server, body):
    port, token = server
    status, _, told = ask(port, "POST", f"/{token}/call", body, Content_Type="application/json")
    assert status == 400 and json.loads(told)["error"]


def test_a_body_has_an_end(server):
    port, token = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", f"/{token}/call")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    try:
        for _ in range(200):
            connection.send(b" " * (1 << 20))
    except OSError:
        pass  # it has hung up
    else:
        raise AssertionError("200 MiB were taken")
    assert call(server, "hello")[0] == 200


def test_what_cannot_be_started_is_said_in_a_line(tmp_path, capsys):
    assert play.main([str(tmp_path / "nothing")]) == 1
    assert re.fullmatch(r"python -m llada\.play: .*nothing.*\n", capsys.readouterr().err)
    assert play.main([str(MODEL), "--host", "203.0.113.7"]) == 1
    assert capsys.readouterr().err.startswith("python -m llada.play: cannot listen at 203.0.113.7:0: ")
    with pytest.raises(SystemExit):
        play.main(["--help"])
    assert "--memory GB" in capsys.readouterr().out
