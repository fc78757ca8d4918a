"""The playground in a real browser without a screen, used as one uses it: by keys and by the mouse. What it shows is
compared with decoders that do the same by themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "examples" / "models"
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import llada  # noqa: E402

QUESTION = "What is 347 plus 586?"
S, L = llada.Policy.speedy(), llada.Policy.levenshtein()
OPTIONS = {"gen_length": 128}  # as the page has them at first


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(MODELS / "tiny-2.1") as model:
        yield model


@pytest.fixture(scope="module")
def editing():
    with llada.Model.load(MODELS / "tiny-2.2") as model:
        yield model


@pytest.fixture
def serve():
    """Starts the command with some models, as a user does; gives the address."""
    running = []

    def start(*models: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
        paths = [str(MODELS / model) for model in models]
        command = [sys.executable, "-m", "llada.play", *paths, "--no-browser"]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        return re.search(r"http://\S+", running[-1].stdout.readline())[0]

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait(10)


class User:
    """Somebody before the page."""

    def __init__(self, browser, address: str, width: int = 1280, scheme: str = "light"):
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.errors, self.asked = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        expect(self.page.locator(".presets button").first).to_be_visible()

    def ask(self, question: str = QUESTION) -> User:
        self.page.locator("textarea").fill(question)
        self.page.locator("textarea").press("Enter")
        expect(self.board().locator(".canvas .cell").first).to_be_visible()
        self.settled()
        return self

    def press(self, *keys: str) -> User:
        for key in keys:
            self.page.keyboard.press(key)
            self.settled()
        return self

    def settled(self):
        """Waits until nothing more is asked of the session."""
        self.page.wait_for_function(
            "async () => { const app = window.playground; let last;"
            "do { last = app.queue; await app.steps.last; await last; } while (last !== app.queue); return true; }"
        )

    def board(self, lane: int = 0):
        return self.page.locator(".board").nth(lane)

    def cell(self, place: int, lane: int = 0):
        return self.board(lane).locator(f'[data-position="{place}"]')

    def count(self, name: str, lane: int = 0) -> str:
        return self.board(lane).locator(f'[data-count="{name}"] b').inner_text()

    def places(self, name: str, lane: int = 0) -> set[int]:
        """Where cells of a class are."""
        found = self.board(lane).locator(f".canvas .cell.{name}")
        return set(found.evaluate_all("cells => cells.map(cell => Number(cell.dataset.position))"))

    def texts(self, lane: int = 0) -> list[str]:
        return self.board(lane).locator(".canvas .cell").evaluate_all("cells => cells.map(cell => cell.textContent)")

    def shows(self, decoder: llada.Decoder, lane: int = 0) -> None:
        """What stands on the page stands on the decoder's canvas."""
        masked = {int(place) for place in range(len(decoder.canvas)) if decoder.states[place] == llada.State.MASKED}
        texts, decode = self.texts(lane), decoder._model
        assert self.places("mask", lane) == masked & set(range(len(texts)))
        from llada.text import detokenize

        for place, shown in enumerate(texts):
            if place in masked:
                continue
            token = int(decoder.canvas[place])
            ends = token in decode.info.eos_token_ids
            assert shown == ("∎" if ends else detokenize(decode.handle, decoder.canvas[place : place + 1], False)), (
                place
            )
        assert self.count("forwards", lane) == str(decoder.forwards) and self.count("edits", lane) == str(decoder.edits)

    def done(self) -> None:
        assert self.errors == []
        self.context.close()


def past_the_prompt(user: User, *decoders: llada.Decoder) -> None:
    """The prompt ends in the midst of a block, which is soon done."""
    while any(decoder.active.start < 32 for decoder in decoders):
        user.press(".")
        for decoder in decoders:
            decoder.step()


def test_steps_by_keys(browser, serve, tiny):
    address = serve("tiny-2.1")
    user = User(browser, address).ask()
    with tiny.decoder(QUESTION, S, **OPTIONS) as decoder:
        user.shows(decoder)
        user.press(".")
        decoder.step()
        user.shows(decoder)
        before = user.texts()
        user.press("/")
        decoder.forward()
        expect(user.page.locator(".status")).to_contain_text("next: propose")
        with decoder.fork() as fork:
            assert user.places("possible") == {edit.position for edit in fork.propose()}
        user.press("h")
        expect(user.page.locator(".status")).to_contain_text("next: apply")
        assert user.places("certain") == {edit.position for edit in decoder.propose()} and not user.places("possible")
        user.press("n")
        decoder.apply()
        user.shows(decoder)
        user.press(",", "b", "b")  # apply, propose, forward
        assert user.texts() == before
        user.press(";", ";", ";")
        user.shows(decoder)
        user.press("<")
        assert user.count("forwards") == "0"
        user.press("e")
        expect(user.page.locator(".block.now")).to_have_attribute("data-block", "1")
        user.press("E")
        expect(user.page.locator(".status")).to_contain_text("ended")
        user.shows(decoder.run())
        assert user.count("tokens a forward") == f"{decoder.result.tpf:.2f}" and user.count("masks left") == "0"
    assert {url.rpartition("/")[0] + "/" for url in user.asked if not url.startswith("data:")} == {address}
    user.page.reload()  # the session is still there
    expect(user.page.locator(".status")).to_contain_text("ended")
    assert user.page.locator("textarea").input_value() == QUESTION
    user.done()


def test_it_plays_and_pauses(browser, serve, tiny):
    user = User(browser, serve("tiny-2.1")).ask()
    slow = user.page.locator('input[aria-label="pause between steps"]')
    slow.fill("1500")
    user.page.keyboard.press(" ")
    expect(user.page.locator('[data-control="play"]')).to_have_attribute("aria-label", "pause")
    user.page.keyboard.press(" ")
    expect(user.page.locator('[data-control="play"]')).to_have_attribute("aria-label", "play")
    assert int(user.count("forwards")) <= 2
    slow.fill("0")
    user.page.locator('[data-control="play"]').click()
    expect(user.page.locator(".status")).to_contain_text("ended", timeout=20_000)
    with tiny.decoder(QUESTION, S, **OPTIONS) as decoder:
        user.shows(decoder.run())
    user.done()


def test_a_token_is_looked_at_and_changed(browser, serve, tiny):
    user = User(browser, serve("tiny-2.1")).ask()
    with tiny.decoder(QUESTION, S, **OPTIONS) as decoder:
        past_the_prompt(user, decoder)
        user.press(".")
        decoder.step()
        place = int(decoder.drafts[4])
        user.cell(place).click()
        user.settled()
        panel = user.page.locator(".position")
        expect(panel.locator("h2")).to_contain_text(f"token {decoder.canvas[place]}, position {place}")
        expect(panel.locator(".facts").first).to_contain_text(f"written by forward {decoder.step_map[place]}")
        words = panel.locator(".candidate .word").all_inner_texts()
        found = decoder.candidates(place, 12)
        assert words == ["“" + tiny.tokenizer.decode([c.token]) + "”" for c in found]
        assert panel.locator(".candidate .number").first.inner_text() == f"{100 * found[0].probability:.1f} %"
        assert panel.locator(".chosen-expert").count() == 3 * tiny.info.num_experts_per_tok
        expect(panel.locator(".history .forward").last).to_contain_text(
            f"saw “{tiny.tokenizer.decode([found[0].token])}”"
        )
        # Written with the keyboard: the second candidate; then text in the field, at the next position.
        user.press("2")
        decoder.set(place, found[1].token)
        user.shows(decoder)
        assert place in user.places("host")
        user.press("ArrowRight", "w")
        user.page.keyboard.type(" 42")
        user.press("Enter", "Escape")
        for offset, token in enumerate(tiny.tokenizer.encode(" 42")):
            decoder.set(place + 1 + offset, int(token))
        user.shows(decoder)
        user.press("Escape")
        expect(panel).to_be_hidden()
        user.cell(place).click()
        user.press("l")
        decoder.lock(place)
        assert user.places("locked") == {place}
        banned = decoder.candidates(place + 8, 1)[0].token
        user.cell(place + 8).click()
        user.settled()
        panel.locator(".ban").first.click()
        user.settled()
        decoder.ban(banned, place + 8)
        user.cell(place + 9).click()
        user.press("m", ".")
        decoder.mask(place + 9)
        decoder.step()
        user.shows(decoder)
        user.press("E")
        expect(user.page.locator(".status")).to_contain_text("ended")
        user.shows(decoder.run())
    user.done()


def test_insertions_and_deletions(browser, serve, editing):
    question = "What's 2159 plus 840?"
    user = User(browser, serve("tiny-2.2")).ask(question)
    with editing.decoder(question, L, **OPTIONS) as decoder:
        while not decoder.finished:  # those of the policy
            before = decoder.insertions, decoder.deletions
            user.press(".")
            decoder.step()
            user.shows(decoder)
            moved = decoder.insertions - before[0], decoder.deletions - before[1]
            assert bool(user.places("did-insert")) == bool(moved[0])
            said = user.page.locator(".status").inner_text()
            assert (f"{moved[0]} inserted" in said) == bool(moved[0])
            assert (f"{moved[1]} deleted" in said) == bool(moved[1])
        assert user.count("inserted") == str(decoder.insertions) and user.count("deleted") == str(decoder.deletions)
        assert decoder.insertions and decoder.deletions
    user.press("<")
    with editing.decoder(question, L, **OPTIONS) as decoder:  # one's own
        past_the_prompt(user, decoder)
        user.press("/", "/")
        decoder.forward()
        proposal = [edit for edit in decoder.propose() if edit.position not in (44, 47)]
        user.cell(44).click()
        user.press("u", "w")
        user.page.keyboard.type("7")
        user.page.locator(".edit button", has_text="Insert").click()
        user.settled()
        user.press("Escape")
        user.cell(47).click()
        user.press("x")
        token = int(editing.tokenizer.encode("7")[0])
        decoder.propose([*proposal, llada.Edit.insert(44, token), llada.Edit.delete(47)])
        assert user.cell(44).locator("ins.comes").inner_text() == "7" and user.places("goes") == {47}
        user.press(".")
        decoder.apply()
        user.shows(decoder)
        assert user.places("did-insert") == {44} and user.count("inserted") == "1" and user.count("deleted") == "1"
        user.press("E")
        expect(user.page.locator(".status")).to_contain_text("ended")
        user.shows(decoder.run())
    user.done()


def test_a_threshold_is_seen_before_it_is_used(browser, serve, tiny):
    user = User(browser, serve("tiny-2.1")).ask()
    with tiny.decoder(QUESTION, S, **OPTIONS) as decoder:
        past_the_prompt(user, decoder)
        slider = user.page.locator('[data-field="threshold"]')
        slider.fill("0.9")  # takes the forward
        user.settled()
        decoder.forward()
        careful = S.replace(threshold=0.9)
        with decoder.fork(careful) as fork:
            expected = {edit.position for edit in fork.propose()}
        user.page.wait_for_function(
            "count => document.querySelectorAll('.canvas .possible').length === count", arg=len(expected)
        )
        assert user.places("possible") == expected and user.count("forwards") == str(decoder.forwards)
        masks = len(decoder.masked)
        assert user.page.locator(".slider:has([data-field=threshold]) circle").count() == masks
        over = user.page.locator(".slider:has([data-field=threshold]) circle.over").count()
        assert over == int((decoder.confidences[decoder.masked] > 0.9).sum())
        slider.focus()
        user.press("ArrowLeft")  # a slider keeps its keys
        expect(user.page.locator("label:has([data-field=threshold]) output")).to_have_text("0.89")
        slider.fill("0.9")
        user.settled()
        user.page.get_by_role("button", name="Use it now").click()
        user.settled()
        expect(user.board().locator("h2 small")).to_have_text("joint threshold, changed")
        user.page.locator(".board .canvas").first.focus()
        user.press(".")
        with decoder.fork(careful) as fork:
            fork.step()
            user.shows(fork)
    user.page.locator('[data-preset="2.0"]').click()
    user.settled()
    user.page.get_by_role("button", name="As before").click()
    user.settled()
    expect(user.page.locator(".policy.is-changed")).to_have_count(0)
    user.done()


def test_two_side_by_side(browser, serve, tiny, editing):
    user = User(browser, serve("tiny-2.1", "tiny-2.2"))
    user.page.get_by_label("two decoders").check()
    user.page.locator(".which button").nth(1).click()
    user.page.locator('[data-preset="2.0"]').click()
    user.ask()
    two = llada.Policy.low_confidence()
    with tiny.decoder(QUESTION, S, **OPTIONS) as first, editing.decoder(QUESTION, two, **OPTIONS) as second:
        user.press(".", ".", ".")
        for lane, decoder in enumerate((first, second)):
            for _ in range(3):
                decoder.step()
            user.shows(decoder, lane)
        user.press("E")
        for lane, decoder in enumerate((first.run(), second.run())):
            user.page.wait_for_function(
                "([lane, count]) => document.querySelectorAll('.board')[lane].querySelector('[data-count=forwards] b')"
                ".textContent === count",
                arg=[lane, str(decoder.forwards)],
            )
            user.shows(decoder, lane)
            assert user.count("tokens a forward", lane) == f"{decoder.result.tpf:.2f}"
    user.press("c")  # one again, and then two on one path
    assert user.board(1).is_hidden()
    user.press("<", ".", ".", "c")
    assert user.texts(0) == user.texts(1)
    user.page.get_by_label("both").uncheck()
    user.press(".")
    assert user.texts(0) != user.texts(1) and user.board(1).get_attribute("class").endswith("chosen")
    user.done()


def test_traces_and_scripts(browser, serve, tiny, tmp_path):
    user = User(browser, serve("tiny-2.1")).ask()
    user.press(".", ".")
    user.cell(40).click()
    user.press("2", "Escape", "l", "E")
    expect(user.page.locator(".status")).to_contain_text("ended")
    texts = user.texts()
    with user.page.expect_download() as saved:
        user.page.keyboard.press("s")
    saved.value.save_as(tmp_path / "run.jsonl")
    assert llada.Trace.load(tmp_path / "run.jsonl").replay(tiny) is None
    with user.page.expect_download() as saved:
        user.page.get_by_role("button", name="Page", exact=True).click()
    saved.value.save_as(tmp_path / "run.html")
    assert "<!DOCTYPE html>" in (tmp_path / "run.html").read_text("utf-8")
    user.press("p")
    code = user.page.locator("dialog .code").inner_text()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
    file = tmp_path / "play.py"
    file.write_text(code)
    done = subprocess.run([sys.executable, file, MODELS / "tiny-2.1"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{user.count('forwards')} forwards, {user.count('edits')} edits")
    user.press("Escape")
    expect(user.page.locator("dialog")).to_be_hidden()
    roots = user.page.locator(".mark.begin").count()
    user.page.locator('input[type="file"]').set_input_files(tmp_path / "run.jsonl")
    expect(user.page.locator(".status")).to_have_text("Done again: the same, bit for bit.")
    assert user.texts() == texts and user.page.locator(".mark.begin").count() == roots + 1
    user.done()


def test_branches(browser, serve):
    user = User(browser, serve("tiny-2.1")).ask()
    user.press("e")  # the block that the prompt ends in
    expect(user.page.locator(".block.now")).to_have_attribute("data-block", "1")
    user.press(".", ".")
    trunk, marks = user.texts(), user.page.locator(".mark").count()
    user.press("b")
    user.cell(50).click()
    user.press("w")
    user.page.keyboard.type("#20")
    user.press("Enter", "Escape", "l", "Escape", ".")
    branch = user.texts()
    assert branch != trunk and user.page.locator(".mark").count() == marks + 3
    user.press("[")
    assert user.texts() == trunk
    user.press("]", ";", ";")  # what was written, locked, and the step after it
    assert user.texts() == branch
    user.page.locator(".mark").nth(marks - 1).click()
    user.settled()
    assert user.texts() == trunk
    assert "at 50" in user.page.locator(".mark.host title").first.text_content()
    user.done()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_in_light_and_dark(browser, serve, scheme):
    user = User(browser, serve("tiny-2.1", "tiny-2.2"), 400, scheme)
    user.page.get_by_label("two decoders").check()
    user.ask().press(".", ".", "/")
    shade = user.page.evaluate("getComputedStyle(document.querySelector('.llada')).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", shade)[:3])) > 380
    assert bright == (scheme == "light")
    for _ in range(2):
        assert user.page.evaluate("document.documentElement.scrollWidth") <= 400
        user.cell(40).click()
        user.settled()
        user.cell(41).click()
        user.settled()
    panel = user.page.locator(".position").bounding_box()
    assert panel["y"] + panel["height"] == 800 and panel["width"] == 400
    assert user.cell(41).bounding_box()["y"] < panel["y"]  # what is looked at is not hidden by it
    user.press("?")
    assert user.page.evaluate("document.documentElement.scrollWidth") <= 400
    user.press("Escape")
    user.page.get_by_label("light or dark").click()
    if scheme == "dark":
        shade = user.page.evaluate("getComputedStyle(document.querySelector('.llada')).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", shade)[:3])) > 380
    user.done()


def test_text_is_text_and_errors_are_said(browser, serve):
    user = User(browser, serve("tiny-2.1")).ask(
        "</span><img src=x onerror='window.injected = 1'><script>window.injected = 2</script>"
    )
    user.press(".", ".", "p", "Escape")
    assert user.page.evaluate("window.injected") is None
    user.page.get_by_label("tokens", exact=True).fill("0")
    user.page.locator("form.ask").evaluate("form => { form.noValidate = true; }")
    user.page.get_by_role("button", name="Ask", exact=True).click()
    expect(user.page.locator(".error")).to_contain_text("gen_length")
    user.errors = [error for error in user.errors if "400" not in error]
    user.done()


WIDGET = """<!DOCTYPE html><body><div id="cell"></div><script type="module">
import widget from "data:text/javascript;base64,@ESM@";
const heard = [];
const send = message => window.kernel(JSON.stringify(message));
const model = { send, on: (_, hear) => heard.push(hear), off: () => {} };
window.tell = message => heard.forEach(hear => hear(JSON.parse(message)));
widget.render({ model, el: document.getElementById("cell") });
</script></body>"""


def test_in_a_notebook(browser, tiny):
    import base64

    with tiny.decoder(QUESTION, S, **OPTIONS) as decoder:
        decoder.step()
        widget = decoder.play()
        context = browser.new_context()
        page = context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        answers = []
        widget.send = answers.append

        def kernel(message):
            widget._called(widget, json.loads(message), [])
            page.evaluate("message => { setTimeout(() => window.tell(message)); }", json.dumps(answers.pop()))

        page.expose_function("kernel", lambda message: waiting.append(message))
        waiting = []
        page.set_content(WIDGET.replace("@ESM@", base64.b64encode(widget._esm.encode()).decode()))
        page.add_style_tag(content=widget._css)

        def pump():
            for _ in range(100):
                while waiting:
                    kernel(waiting.pop(0))
                page.wait_for_timeout(10)
                if not waiting and page.evaluate("!document.querySelector('.llada').matches('.busy')"):
                    break
            page.wait_for_timeout(50)

        pump()
        expect(page.locator(".board").first.locator(".cell").first).to_be_visible()
        assert page.locator('.board >> nth=0 >> [data-count="forwards"] b').inner_text() == "1"
        page.locator(".canvas").nth(1).focus()
        page.keyboard.press(".")
        pump()
        pump()
        with decoder.fork() as fork:
            fork.step()
            assert widget.session.lanes[0].look.canvas.tolist() == fork.canvas.tolist()
        assert page.locator('.board >> nth=0 >> [data-count="forwards"] b').inner_text() == "2"
        assert decoder.forwards == 1 and errors == []
        widget.close()
        context.close()
