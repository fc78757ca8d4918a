"""The page of a trace in a real browser without a screen: it is driven by mouse and keyboard events, and says what it
shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import llada  # noqa: E402
from llada.trace import film  # noqa: E402

QUESTION = (
    "Hana has 3 cards. She buys 3 bags of 2 cards. She loses 5. Hana finds 6 more. "
    "How many cards does Hana have in the end?"
)

# Does what a user does and notes what there is to see. What goes wrong on the way is noted as well.
DRIVER = """
<script>
const notes = [], errors = [];
window.onerror = message => errors.push(message);
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const look = what => notes.push({ what, slider: Number(at("slider").value), text: at("canvas").textContent,
  counters: at("counters").textContent, facts: at("facts").textContent,
  chosen: document.querySelectorAll(".chosen").length, row: document.querySelectorAll("tr.now").length,
  edited: [...document.querySelectorAll("#canvas .replace")].map(cell => Number(cell.dataset.position)),
  inserted: [...document.querySelectorAll("#canvas .insert")].map(cell => Number(cell.dataset.position)),
  deleted: [...document.querySelectorAll("#canvas .delete")].map(cell => Number(cell.dataset.position)),
  host: [...document.querySelectorAll("#canvas .host")].map(cell => Number(cell.dataset.position)),
  backgrounds: new Set(places.map((_, index) => cells[index].style.background)).size });
look("end");
for (let index = 0; index < data.frames.length; index++) {
  at("slider").value = index;
  at("slider").dispatchEvent(new Event("input"));
  look("slider");
}
press("Home"); look("Home");
press("ArrowRight"); look("ArrowRight");
press("End"); look("End");
press("ArrowLeft"); look("ArrowLeft");
at("back").click(); look("back");
at("on").click(); look("on");
document.querySelectorAll("#rows tr")[2].click(); look("row");
press("End");
cells[3].dispatchEvent(new MouseEvent("mouseover", { bubbles: true })); look("hover");
cells[3].click(); look("chosen");
cells[3].click(); look("let go");
press("Home"); press(" ");
setTimeout(() => {
  look("played");
  const report = document.createElement("pre");
  report.id = "report";
  report.textContent = JSON.stringify({ notes, errors,
    prompt: at("prompt").textContent, injected: window.injected ?? null,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name),
    overflow: document.documentElement.scrollWidth > innerWidth });
  document.body.append(report);
}, data.frames.length * 600 + 1000);
</script>
"""


def driven(page: Path, width: int = 1000) -> dict:
    """What the driver reports of a page."""
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", DRIVER + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--window-size={width},900",
            "--virtual-time-budget=60000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    report = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.S)
    assert report, done.stderr[-2000:]
    return json.loads(unescape(report.group(1)))


@pytest.fixture(scope="module")
def trace():
    with (
        llada.Model.load(ROOT / "examples" / "models" / "tiny-2.1") as model,
        model.decoder(QUESTION, llada.Policy.speedy(), gen_length=64, eos_early_stop=True) as dec,
        dec.record() as trace,
    ):
        dec.step()
        place = int(dec.drafts[2])
        dec.set(place, 20)
        dec.lock(place)
        dec.run()
    return trace


def test_it_shows_what_happened(trace, tmp_path):
    trace.html(tmp_path / "page.html")
    seen = driven(tmp_path / "page.html")
    assert seen["errors"] == [] and seen["loaded"] == [] and not seen["overflow"]
    notes = seen["notes"]
    frames, places, text = list(film.frames(trace)), film.shown(trace), film.reader(trace)
    sliders = [note for note in notes if note["what"] == "slider"]
    assert len(sliders) == len(frames)
    for note, frame in zip(sliders, frames):
        assert note["text"] == "".join(text(frame.canvas[place]) for place in places)
        assert f"{frame.masks} masks left" in note["counters"] and f"{frame.edits} edits so far" in note["counters"]
        assert f"{frame.tpf:.2f} tokens a forward" in note["counters"] and note["row"] == 1
        replaced = {place for place, event in frame.changes.items() if event.kind == "replace"}
        assert set(note["edited"]) == replaced & set(places)
        assert note["host"] == [place for place in places if frame.reasons[place] == "host"]
    assert any(note["edited"] for note in sliders) and any(note["host"] for note in sliders)
    assert max(note["backgrounds"] for note in sliders) > 3  # colours by confidence
    assert seen["prompt"] == "".join(text(token) for token in trace.prompt)

    at = {note["what"]: note for note in notes}
    last = len(frames) - 1
    assert [at[what]["slider"] for what in ("end", "Home", "ArrowRight", "End", "ArrowLeft", "back", "on", "row")] == [
        last,
        0,
        1,
        last,
        last - 1,
        last - 2,
        last - 1,
        2,
    ]
    place = places[3]
    for what in (
        f"position {place}",
        f"token {frames[-1].canvas[place]}",
        f"confidence {frames[-1].sure[place]:.4f}",
        f"written by forward {frames[-1].written[place]}",
        f"reason {frames[-1].reasons[place].replace('_', ' ')}",
    ):
        assert what in at["hover"]["facts"]
    assert at["chosen"]["chosen"] == 1 and at["let go"]["chosen"] == 0
    assert at["played"]["slider"] == last


def test_it_shows_insertions_and_deletions(tmp_path):
    with llada.Model.load(ROOT / "examples" / "models" / "tiny-2.2") as model:
        trace = model.generate("What's 2159 plus 840?", llada.Policy.levenshtein(), gen_length=64, record=True).trace
    trace.html(tmp_path / "page.html")
    seen = driven(tmp_path / "page.html")
    assert seen["errors"] == []
    frames, places, text = list(film.frames(trace)), film.shown(trace), film.reader(trace)
    sliders = [note for note in seen["notes"] if note["what"] == "slider"]
    assert len(sliders) == len(frames)
    for note, frame in zip(sliders, frames):
        assert note["text"] == "".join(text(frame.canvas[place]) for place in places)
        for kind, word in (("insert", "inserted"), ("delete", "deleted")):
            changed = {place for place, event in frame.changes.items() if event.kind == kind}
            assert set(note[word]) == changed & set(places)
            count = sum(event.kind == kind for event in frame.events)
            assert f"{count} {word}" in note["counters"]
    assert any(note["inserted"] for note in sliders) and any(note["deleted"] for note in sliders)


def test_tokens_are_text_whatever_they_hold(trace, tmp_path):
    attack = "</script><script>window.injected = 1</script><img src=x onerror='window.injected = 2'><!--\u2028"
    bad = llada.Trace(trace.start)
    bad.steps, bad.result, bad.texts = trace.steps, trace.result, dict.fromkeys(trace.texts, attack)
    bad.html(tmp_path / "bad.html")
    seen = driven(tmp_path / "bad.html", 480)
    assert seen["injected"] is None and seen["errors"] == [] and seen["loaded"] == []
    assert attack in seen["notes"][0]["text"] and not seen["overflow"]
