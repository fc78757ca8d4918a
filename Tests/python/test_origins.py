"""Whom a server of this machine alone answers. The servers' own tests ask over a socket."""

from __future__ import annotations

import pytest

from llada._origins import LOOPBACK, turned_away


def status(names=LOOPBACK, **headers):
    """None where it is answered. `host="..."`, or several: `host=["...", "..."]`."""
    listed = []
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            listed.append((name.replace("_", "-").encode(), value.encode("latin-1")))
    refusal = turned_away(listed, names)
    assert refusal is None or len(refusal[1]) > 20
    return None if refusal is None else refusal[0]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "127.0.0.1:", "[::1]", "[::1]:8000"])
def test_names_of_this_machine(host):
    assert status(host=host) is None
    assert status(host=host, sec_fetch_site="same-origin") is None and status(host=host, sec_fetch_site="none") is None
    assert status(host=host, origin=f"http://{host}") is None
    assert status(names=frozenset({"10.0.0.7"}), host=host) == 421


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "localhost@evil.example", "evil.example@localhost",
     "evil.example#@localhost", "localhost/", "127.0.0.1:80:80", "::1", "[::1", "::1]", "[localhost]", "[::2]:80",
     "127.0.0.1:8000x", "127.0.0.1\n", "0.0.0.0", "127.1", "", " ", "\xa0localhost", [], ["localhost", "localhost"],
     ["localhost", "evil.example"]],
)  # fmt: skip
def test_other_names(host):
    assert status(host=host) == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost", "http://localhost:3000", "https://localhost:8000", "null", "",
     "http://localhost:8000/", "http://127.0.0.1:8000", "file://", ["http://localhost:8000", "http://evil.example"]],
)  # fmt: skip
def test_pages_of_other_origins(origin):
    assert status(host="localhost:8000", origin=origin) == 403
    assert status(names=None, host="localhost:8000", origin=origin) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "anything"])
def test_pages_of_other_sites(site):
    assert status(host="localhost:8000", sec_fetch_site=site) == 403
    assert status(host="localhost:8000", sec_fetch_site=["same-origin", site]) == 403


def test_a_server_of_any_name():
    assert status(names=None, host="models.example:80") is None and status(names=None) is None
    assert status(names=None, host="models.example", origin="http://models.example") is None
    assert status(names=None, host="models.example", origin="http://evil.example") == 403
