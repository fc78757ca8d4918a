"""Progress bars: when they are drawn, and that they leave nothing behind."""

from __future__ import annotations

import io
import sys

import pytest

from conftest import load
from llada.progress import Bar, bar_for


def test_the_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    bar = Bar("loading x", stream, delay=0.0)
    for fraction in (0.0, 0.5, 0.5, 1.0):
        bar(fraction)
    bar.wipe()
    drawn = stream.getvalue()
    assert "50%" in drawn and "100%" in drawn and drawn.count("50%") == 1
    assert drawn.endswith("\r")  # wiped
    quiet = Terminal()
    patient = Bar("loading x", quiet, delay=60)
    patient(0.5)
    patient.wipe()
    assert quiet.getvalue() == ""
    Bar("loading x", io.TextIOWrapper(io.BytesIO(), "ascii"), delay=0)(0.5)  # cannot draw: no harm


def test_who_gets_a_bar(monkeypatch, capsys):
    assert bar_for(None, "x") is None  # not a terminal
    assert bar_for(False, "x") is None
    assert bar_for(True, "x") is not None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert bar_for(None, "x") is not None
    assert bar_for(lambda fraction: None, "x") is None
    load("gqa_group", progress=True).close()
    assert "loading gqa_group" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["closed", "bare"])
def test_an_stderr_that_is_no_terminal_harms_nothing(monkeypatch, stream):
    """A daemon closes it, a window system puts an object of its own there."""

    class Bare:
        def write(self, text):
            return None

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream == "closed" else Bare())
    for progress in (None, True):
        with load("gqa_group", progress=progress) as model:
            assert len(list(model.generate_many([[1, 2]], block_length=8, gen_length=8))) == 1
