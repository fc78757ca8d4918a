"""Pictures of traces: what they say, that they are well-formed, and that no token gets out of them."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import llada
from conftest import ROOT, model
from llada import Policy, Trace
from llada.trace import film

TINY = ROOT / "examples" / "models" / "tiny-2.1"
QUESTION = (
    "Hana has 3 cards. She buys 3 bags of 2 cards. She loses 5. Hana finds 6 more. "
    "How many cards does Hana have in the end?"
)
NASTY = "</script><script>alert(1)</script><!--\u2028\x1b[2J\x00&\"'>@DATA@ ]]>"


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(TINY, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def trace(tiny):
    """With edits, an override, experts watched."""
    with tiny.decoder(QUESTION, Policy.speedy(), gen_length=64) as dec:
        dec.watch(routing=True)
        with dec.record() as trace:
            dec.step()
            dec.set(int(dec.drafts[2]), 20)
            dec.run()
    assert trace.result.edits > 3
    return trace


def nasty(trace: Trace) -> Trace:
    """The same, where every token's text tries to break out."""
    worse = Trace(replace(trace.start, model={**trace.start.model, "name": NASTY}))
    worse.steps, worse.result = trace.steps, trace.result
    worse.texts = dict.fromkeys(trace.texts, NASTY)
    return worse


class Page(HTMLParser):
    """What an HTML parser makes of a page: its elements, and what is in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def page(trace, tmp_path):
    trace.html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_frames_tell_what_the_decoder_told(tiny):
    with tiny.decoder(QUESTION, Policy.speedy(), gen_length=64) as dec, dec.record() as trace:
        seen = [(dec.canvas, dec.step_map, 0)]
        for _ in dec:
            seen.append((dec.canvas, dec.step_map, dec.edits))
        answer = dec.result
    frames = list(film.frames(trace))
    assert len(frames) == len(seen)
    for frame, (canvas, written, edits) in zip(frames, seen):
        assert np.array_equal(frame.canvas, canvas) and np.array_equal(frame.written, written) and frame.edits == edits
        assert all(bool(reason) == bool(forward) for reason, forward in zip(frame.reasons, written))
        assert np.isnan(frame.sure[canvas == tiny.mask_token_id]).all()
    assert frames[-1].masks == 0 and frames[-1].tpf == pytest.approx(answer.tpf)
    assert frames[0].masks == 64 and frames[0].tokens == 0
    last = trace.steps[-1]
    there = slice(last.active.start, last.active.stop)
    agreed = last.predictions == frames[-1].canvas[there]
    assert np.array_equal(frames[-1].sure[there][agreed], last.confidences[agreed])


def test_the_page_holds_the_whole_trace(trace, tmp_path):
    text, parsed = page(trace, tmp_path)
    assert parsed.open == [] and len(parsed.scripts) == 2
    data = json.loads(parsed.scripts[0])
    canvas = np.array(data["canvas"])
    assert len(data["frames"]) == len(trace.steps) + 1
    for frame, step in zip(data["frames"][1:], trace.steps):
        for place, token in frame["canvas"]:
            canvas[place] = token
        assert frame["predictions"] == step.predictions.tolist() and frame["first"] == step.active.start
        assert frame["confidences"] == pytest.approx(step.confidences, abs=6e-5)
        assert [tuple(event) for event in frame["events"]] == [
            (e.position, e.kind, e.old, e.reason, e.last, e.new) for e in step.events
        ]
    assert np.array_equal(canvas, trace.canvas[: len(canvas)])
    assert data["frames"][-1]["edits"] == trace.result.edits
    shown = [data["texts"][str(token)] for token in trace.result.tokens if str(token) in data["texts"]]
    assert "".join(shown[:-1]) == trace.text
    assert any("host" in word for frame in data["frames"] for word in frame["words"])


def test_the_page_needs_nothing_else(trace, tmp_path):
    text, parsed = page(trace, tmp_path)
    for _, attributes in parsed.tags:
        assert not {"src", "href", "srcset", "action", "poster"} & set(attributes)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|import\(", text)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_no_token_gets_out(trace, tmp_path):
    bad = nasty(trace)
    text, parsed = page(bad, tmp_path)
    assert parsed.open == [] and len(parsed.scripts) == 2 and "alert" not in parsed.scripts[1]
    assert text.count("</script>") == 2 and "<!--" not in text and "\u2028" not in parsed.scripts[0]
    data = json.loads(parsed.scripts[0])
    assert set(data["texts"].values()) == {NASTY} and data["model"] == NASTY
    plain = [tag for tag, _ in page(trace, tmp_path)[1].tags]
    assert [tag for tag, _ in parsed.tags] == plain

    notebook = Page(bad._repr_html_())
    assert [tag for tag, _ in notebook.tags] == ["iframe"]
    assert notebook.tags[0][1]["srcdoc"] == text and notebook.tags[0][1]["sandbox"] == "allow-scripts"

    bad.svg(tmp_path / "bad.svg")
    assert {node.tag.split("}")[1] for node in xml.parse(tmp_path / "bad.svg").iter()} <= {
        "svg",
        "title",
        "rect",
        "g",
        "animate",
        "text",
    }

    for terminal in (False, True):
        stream = Terminal() if terminal else io.StringIO()
        bad.play(delay=0, stream=stream)
        assert "\x1b[2J" not in stream.getvalue() and "\x00" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_terminal(trace, monkeypatch):
    stream = io.StringIO()
    trace.play(stream=stream)
    text = stream.getvalue()
    assert "\x1b" not in text and text.count("░") > 64 and "(host)" in text and " → " in text
    assert re.findall(r"^ *(\d+)  ", text, re.M) == [str(number) for number in range(len(trace.steps) + 1)]
    assert trace.text.split(" gives ")[0] in text
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("LINES", "40")
    stream = Terminal()
    trace.play(delay=0, stream=stream)
    drawn = stream.getvalue()
    assert "\x1b[1;33m" in drawn and "\x1b[38;5;" in drawn and f"forward {trace.result.forwards}" in drawn
    for line in re.sub(r"\x1b\[[0-9;]*[mKAJ]|\r", "", drawn).split("\n"):
        assert len(line) <= 50
    # Each picture goes back to the top of the one before.
    heights = [picture.count("\n") for picture in re.split(r"\x1b\[\d+A\r", drawn)]
    assert [int(up) for up in re.findall(r"\x1b\[(\d+)A", drawn)] == heights[:-1]


def test_svg(trace, tmp_path):
    trace.svg(tmp_path / "run.svg", seconds=0.5)
    root = xml.parse(tmp_path / "run.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    frames = len(trace.steps) + 1
    moments = [node.get("dur") for node in root.iter(f"{name}animate")]
    assert set(moments) == {f"{frames * 0.5 + 3:g}s"}

    def at(second):
        """The texts that are seen then."""
        seen = []
        for group in root.iter(f"{name}g"):
            animation = group.find(f"{name}animate")
            visible = 1
            if animation is not None:
                keys, values = (animation.get(key).split(";") for key in ("keyTimes", "values"))
                share = second / float(animation.get("dur")[:-1])
                visible = int([value for key, value in zip(keys, values) if float(key) <= share][-1])
            if visible and group.find(f"{name}text") is not None:
                seen.append(group.find(f"{name}text").text)
        return seen

    assert at(0.1) == ["before the first forward · 64 masks"]
    final = at(frames * 0.5 + 1)
    assert final[-1].startswith(f"forward {trace.result.forwards} ·")
    assert "".join(final[:-1]).replace(" ", "") == trace.text.replace(" ", "") + film.END
    assert (tmp_path / "run.svg").stat().st_size < 200_000


def test_without_a_tokenizer_tokens_are_numbers(tmp_path):
    with model("mini_like").decoder([1, 2, 3], gen_length=16, block_length=8) as dec, dec.record() as trace:
        dec.run()
    assert trace.texts == {} and trace.text is None
    stream = io.StringIO()
    trace.play(stream=stream)
    assert f"{trace.result.tokens[0]} " in stream.getvalue()
    trace.svg(tmp_path / "x.svg")
    page(trace, tmp_path)


def test_a_trace_without_a_forward(tmp_path):
    with model("mini_like").decoder([1, 2, 3], gen_length=16) as dec:
        trace = dec.record()
    assert trace.steps == [] and trace.replay(model("mini_like")) is None
    page(trace, tmp_path)
    trace.play(stream=io.StringIO())
    trace.svg(tmp_path / "x.svg")
    with pytest.raises(llada.TraceError, match="no forward"):
        trace.heat_map(tmp_path / "x.png")
    with pytest.raises(llada.TraceError, match="watch"):
        trace.expert_map(tmp_path / "x.png")


def test_a_decoder_shows_itself(tiny):
    with tiny.decoder("What is 2 plus 3?", gen_length=32) as dec:
        masked = dec._repr_html_()
        dec.forward()
        assert Page(dec._repr_html_()).open == []
        dec.step()
        dec.step()
        shown = dec._repr_html_()
    parsed = Page(shown)
    assert parsed.open == [] and {tag for tag, _ in parsed.tags} == {"pre", "span", "small"}
    styles = {attributes["style"] for tag, attributes in parsed.tags if tag == "span"}
    assert llada.drawing._CSS["sure4"] in styles and masked.count("░") == 42  # whole blocks
    assert Page(dec._repr_html_()).open == []  # closed


def test_heat_maps(trace, tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *given, **more: (figures.append(figure), save(figure, *given, **more))
    )
    before = dict(matplotlib.rcParams)
    trace.heat_map(tmp_path / "confidence.png")
    trace.expert_map(tmp_path / "experts.png")
    assert dict(matplotlib.rcParams) == before
    for name in ("confidence", "experts"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    axes = figures[0].axes[0]
    first, last = min(s.active.start for s in trace.steps), max(s.active.stop for s in trace.steps)
    assert np.array_equal(axes.images[0].get_array().filled(np.nan), trace.confidences[:, first:last], equal_nan=True)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("position on the canvas, tokens", "forward")
    marks = {marks.get_label(): len(marks.get_offsets()) for marks in axes.collections}
    assert marks["edited"] == sum(e.kind == "replace" and e.reason != "host" for s in trace.steps for e in s.events)
    assert marks["by the host"] == 1
    shares = figures[1].axes[0].images[0].get_array()
    assert np.allclose(shares.sum(axis=1), 100) and len(shares) == 3


def test_what_is_missing_is_said(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy, llada.trace.heat as heat\n"
        f"heat.experts(numpy.ones((2, 4)), {str(tmp_path / 'x.png')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: heat maps need matplotlib: pip install matplotlib" in done.stderr


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "llada.trace", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT / "bindings" / "python",
        env={**os.environ, **environment},
    )


def test_command_line(tmp_path):
    run = tmp_path / "run.jsonl"
    done = command(
        "record", TINY, "What is 2 plus 3?", "--policy", "speedy", "--threshold", "0.6", "--gen-length", 32, "-o", run
    )
    assert done.returncode == 0 and "5" in done.stdout, done.stderr
    trace = Trace.load(run)
    assert trace.policy == Policy.speedy(threshold=0.6)
    same = command("replay", run, TINY)
    assert same.returncode == 0 and "the same bit for bit" in same.stdout
    other = command("replay", run, TINY.parent / "tiny-2.1-rl")
    assert other.returncode == 2 and other.stdout.startswith("step 1: ")
    assert command("show", run, PYTHONIOENCODING="utf-8").stdout.count("\n") >= len(trace.steps)
    for encoding in ("latin-1", "ascii"):  # no sign for a mask in either of them
        plain = command("show", run, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert plain.returncode == 0 and plain.stdout.count("\n") >= len(trace.steps) and "_" in plain.stdout
    for name in ("html", "svg", "png", "experts"):
        done = command(name, run, tmp_path / f"out.{name}" if name in ("html", "svg") else tmp_path / f"{name}.png")
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.iterdir())) == 5
    run.write_text(run.read_text()[:-40])
    cut = command("show", run)
    assert cut.returncode == 1 and "in the midst of a line" in cut.stderr and "Traceback" not in cut.stderr
    assert command("show", run, "--partial").returncode == 0
    assert command("show", tmp_path / "nothing").returncode == 1


def test_the_gallery_is_of_this_library(tiny, tmp_path):
    """If this differs, results have changed: `make gallery`, once that is understood."""
    gallery = ROOT / "examples" / "gallery"
    trace = Trace.load(gallery / "run.jsonl")
    assert (trace.replay(tiny) or "the same") == "the same"
    trace.svg(tmp_path / "run.svg")
    assert (tmp_path / "run.svg").read_text() == (gallery / "run.svg").read_text()
    for picture in gallery.iterdir():
        assert picture.stat().st_size < 200_000
