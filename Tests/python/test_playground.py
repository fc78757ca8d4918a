"""The playground's session: what its tree keeps and makes again, what a page is told, traces and scripts of a path. All
against decoders that do the same by themselves."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llada
from conftest import ROOT
from llada.errors import InvalidArgumentError, StateError
from llada.play import parts
from llada.play.__main__ import source
from llada.play.actions import action_of, policy_code
from llada.play.session import Session

MODELS = ROOT / "examples" / "models"
QUESTION = "What is 347 plus 586?"
S = llada.Policy.speedy()


@pytest.fixture(scope="module")
def tiny():
    with llada.Model.load(MODELS / "tiny-2.1", threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def editing():
    with llada.Model.load(MODELS / "tiny-2.2", threads=1) as model:
        yield model


def as_json(policy: llada.Policy) -> dict:
    return dict(vars(policy))


class Page:
    """Asks a session as a page does: by JSON."""

    def __init__(self, *models: llada.Model, memory: int = 1 << 30) -> None:
        self.session = Session([source(model) for model in models], memory)
        self.told = self("hello")

    def __call__(self, name: str, **arguments):
        told = json.loads(json.dumps(self.session.call(name, json.loads(json.dumps(arguments))), allow_nan=False))
        if "lanes" in told:
            self.lanes = told["lanes"]
        return told

    def ask(self, *lanes: tuple[int, llada.Policy], prompt: str = QUESTION, **options):
        chosen = [{"model": model, "policy": as_json(policy)} for model, policy in lanes or [(0, S)]]
        return self("ask", prompt=prompt, lanes=chosen, options={"gen_length": 64, **options})

    def do(self, *action, lanes=(0,)):
        return self("do", lanes=list(lanes), action=list(action))["lanes"][lanes[0]]

    def past_the_prompt(self):
        """The prompt ends one position before its block does."""
        while self.lanes[0]["active"][0] < 32:
            self.do("step")

    def end(self, lanes=(0,)):
        while any(self.lanes[lane]["phase"] != "finished" for lane in lanes):
            self.do("step", lanes=lanes)
        return self.lanes[lanes[0]]

    def decoder(self, lane: int = 0) -> llada.Decoder:
        return self.session.tree.awake(self.session.lanes[lane])


def same(state: dict, decoder: llada.Decoder) -> None:
    """What a page is told is what the decoder shows."""
    shown = len(state["canvas"])
    assert state["canvas"] == decoder.canvas[:shown].tolist() and not (decoder.states[shown:] != 1).any()
    assert state["states"] == "".join(map(str, decoder.states[:shown]))
    assert state["phase"] == decoder.phase and state["finish"] == decoder.finish_reason
    for name in ("forwards", "edits", "insertions", "deletions"):
        assert state["counts"][name] == getattr(decoder, name)
    if decoder.forwards:
        rows = decoder.rows
        assert state["rows"] == [rows.positions[0], rows.positions[-1] + 1]
        if state["phase"] in ("forwarded", "proposed"):
            there = slice(*state["rows"])
            assert state["thoughts"][there] == rows.predictions.tolist()
            np.testing.assert_allclose(state["thoughtSure"][there], rows.confidences, atol=1e-4)


def test_steps_are_those_of_a_decoder(tiny):
    page = Page(tiny)
    page.ask()
    with tiny.decoder(QUESTION, S, gen_length=64) as decoder:
        same(page.lanes[0], decoder)
        for halves in (True, False, True, True, False):
            if halves:
                for half in ("forward", "propose", "apply"):
                    getattr(decoder, half)()
                    page("half", lanes=[0])
                    same(page.lanes[0], decoder)
                    if half == "forward":  # what apply would do is told before it is proposed
                        with decoder.fork() as fork:
                            told = [tuple(edit[:2]) for edit in page.lanes[0]["would"]]
                            assert told == [edit[:2] for edit in fork.propose()]
                    elif half == "propose":
                        assert [edit[:2] for edit in page.lanes[0]["proposal"]] == [
                            [edit.position, edit.token] for edit in decoder.proposal
                        ]
            else:
                decoder.step()
                page.do("step")
                same(page.lanes[0], decoder)
            assert page.lanes[0]["counts"]["tpf"] == pytest.approx(
                page.lanes[0]["counts"]["tokens"] / max(decoder.forwards, 1), abs=0.005
            )
        decoder.run()
        same(page.end(), decoder)
    with pytest.raises(StateError, match="ended"):
        page.do("step")


def test_every_state_is_kept_and_nothing_is_done_twice(tiny):
    page = Page(tiny)
    page.ask()
    first = page.lanes[0]["node"]
    page.do("step")
    canvas, second = page.lanes[0]["canvas"], page.lanes[0]["node"]
    page.do("set_token", 40, 20)
    page.do("step")
    other = page.lanes[0]
    page("go", lane=0, node=first)
    assert page.lanes[0]["counts"]["forwards"] == 0 and set(page.lanes[0]["states"]) == {"0", "1"}
    count = len(page.session.tree.nodes)
    page.do("step")  # it was done before
    assert page.lanes[0]["node"] == second and page.lanes[0]["canvas"] == canvas
    page.do("set_token", 40, 20)
    page.do("step")
    assert page.lanes[0] == other and len(page.session.tree.nodes) == count
    page("go", lane=0, node=second)
    page.do("mask", 40)  # another branch
    told = page("hello")["tree"]["nodes"]
    assert [node[1] for node in told] == [0, first, second, second + 1, second]
    assert [node[2] for node in told] == ["begin", "step", "set_token", "step", "mask"]
    assert told[2][3] == f"write “{tiny.tokenizer.decode([20])}” at 40"
    new = page("do", lanes=[0], action=["step"], since=told[-1][0], epoch=0)["tree"]["nodes"]
    assert [node[0] for node in new] == [told[-1][0] + 1]


def test_half_steps_are_no_forwards_more(tiny):
    page = Page(tiny)
    page.ask()
    before = page.lanes[0]["node"]
    page("half", lanes=[0])
    half = page.session.lanes[0]
    page("go", lane=0, node=before)
    page.do("step")  # takes the forward that is there
    with tiny.decoder(QUESTION, S, gen_length=64) as decoder:
        decoder.step()
        same(page.lanes[0], decoder)
    assert page.session.lanes[0].look.routing is half.look.routing


@pytest.fixture
def alone():
    """A model that nobody else has decoders of, with the workspaces that forwards need."""
    with llada.Model.load(MODELS / "tiny-2.1", threads=1) as model:
        model.generate(QUESTION, S, gen_length=64)
        yield model


def test_it_keeps_to_its_memory(alone):
    free = Page(alone)
    free.ask()
    free.do("step")
    least = free.session.tree.bytes
    while free.lanes[0]["phase"] != "finished":
        free("half", lanes=[0])
    memory = (least + free.session.tree.bytes) // 2
    free.session.close()
    page = Page(alone, memory=memory)
    page.ask()
    states = [page.lanes[0]]
    while page.lanes[0]["phase"] != "finished":
        page("half", lanes=[0])
        states.append(page.lanes[0])
        assert page.session.tree.bytes <= memory
    tree = page.session.tree
    asleep = [node for node in tree.nodes.values() if node.decoder is None]
    assert asleep and all(node.snapshot is not None or node.parent is not None for node in asleep)
    for node in list(tree.nodes.values())[1:]:
        tree._sleep(node)
        tree._drop(node)  # what it was made of is all that is left
    for state in states:
        page("go", lane=0, node=state["node"])
        told = page("cell", lane=0, position=50)  # which wakes it
        same(state, page.decoder())
        assert page.lanes[0] == state
        if state["rows"][0] <= 50 < state["rows"][1]:
            assert [c[0] for c in told["candidates"]] == [c.token for c in page.decoder().candidates(50, 12)]
    small = Page(alone, memory=60_000)
    small.ask()
    for token in range(20, 60):
        small("go", lane=0, node=1)
        small.do("set_token", 40, token)
    forgotten = small.session.tree.forgotten
    assert forgotten and len(small.session.tree.nodes) + forgotten == 41
    assert small("hello")["tree"]["epoch"] == forgotten
    assert small.do("step")["counts"]["forwards"] == 1
    with pytest.raises(InvalidArgumentError, match="forgotten"):
        small("go", lane=0, node=2)


def test_other_thresholds_are_seen_before_they_are_used(tiny):
    page = Page(tiny)
    page.ask()
    page.past_the_prompt()
    careful = S.replace(threshold=0.95)
    with pytest.raises(StateError, match="forward is next"):
        page("would", lane=0, policy=as_json(careful))
    page("half", lanes=[0])
    before = page.lanes[0]
    count = len(page.session.tree.nodes)
    seen = page("would", lane=0, policy=as_json(careful))
    assert len(page.session.tree.nodes) == count and page("hello")["lanes"] == [before]
    fewer, more = ({tuple(edit[:2]) for edit in edits} for edits in (seen["would"], before["would"]))
    assert fewer < more
    page.do("fork", as_json(careful))
    assert page.lanes[0]["would"] == seen["would"] and page.lanes[0]["policy"] == as_json(careful)
    page.do("step")
    written = {(event[0], event[3]) for event in page.lanes[0]["events"]}
    assert written == fewer


def by_hand(page: Page) -> None:
    """Some of everything."""
    page.do("step")
    page.do("fork", as_json(S.replace(threshold=0.8, editing_threshold=0.3)))
    page.do("set_token", 40, 20)
    page.do("lock", 40, True)
    page.do("ban", -1, 285, True)
    page.do("ban", 45, 262, True)
    page.do("set_logit_bias", 17, 50, 1.5)
    page.past_the_prompt()
    page("half", lanes=[0])
    page("half", lanes=[0])
    edits = [edit[:4] for edit in page.lanes[0]["proposal"] if edit[0] not in (35, 37, 38)]
    mask = page.told["models"][0]["mask"]
    page.do(
        "set_proposal",
        [*edits, [35, 22, 0, "insert"], [35, mask, 0, "insert"], [37, -1, 0, "delete"], [38, 21, 0, "write"]],
    )
    page.do("apply")
    page.do("step")
    page.do("lock", 40, False)
    page.do("ban", -1, 285, False)
    page.do("disable_expert", 1, 2, True)
    page.do("step")
    page.do("end_block", 1)
    page.do("mask", 52)
    page.do("step")
    page.do("fork", as_json(S.replace(temperature=0.7, seed=5)))
    page.end()
    page.do("truncate", 32)
    page.end()


def test_a_path_is_a_trace_that_replays(tiny, tmp_path):
    page = Page(tiny)
    page.ask()
    by_hand(page)
    saved = page("save", lane=0, form="trace")
    trace = llada.Trace.load(io.BytesIO(saved["text"].encode()))
    assert trace.replay(tiny) is None
    state = page.lanes[0]
    assert trace.result.forwards == len(trace.steps) == state["counts"]["forwards"]
    assert trace.result.canvas.tolist() == page.decoder().canvas.tolist()
    assert trace.result.expert_usage[1].sum() == 2 * sum(len(step.active) for step in trace.steps)
    assert any(call[0] == "fork" and call[1].seed == 5 for step in trace.steps for call in step.before)
    trace.html(tmp_path / "trace.html")
    assert page("save", lane=0, form="page")["text"] == (tmp_path / "trace.html").read_text("utf-8")
    assert page("save", lane=0, form="svg")["text"].startswith("<svg")
    # Loaded into another session, every state of it is there again.
    other = Page(tiny)
    assert other("load", text=saved["text"])["difference"] is None
    assert other.lanes[0]["canvas"] == state["canvas"] and other.lanes[0]["counts"] == state["counts"]
    assert other("save", lane=0, form="trace")["text"] == saved["text"]
    changed = saved["text"].replace(f'"forwards":{state["counts"]["forwards"]},', '"forwards":77,')
    assert "forwards" in other("load", text=changed)["difference"]
    with pytest.raises(llada.TraceError, match="line 1"):
        other("load", text="{}\n")


def test_a_trace_of_another_model_is_refused(tiny, editing):
    page = Page(tiny)
    page.ask()
    text = page("save", lane=0, form="trace")["text"]
    with pytest.raises(InvalidArgumentError, match="another model: num_experts is 8, and 32 in tiny-2.2"):
        Page(editing)("load", text=text)
    assert Page(editing, tiny)("load", text=text)["lanes"][0]["model"] == "tiny-2.1"


def run(code: str, model: Path, tmp_path: Path) -> list[int]:
    """The canvas that a script of the playground leaves."""
    file = tmp_path / "play.py"
    file.write_text(code + "    print(dec.canvas.tolist())\n")
    environment = {"PYTHONPATH": str(ROOT / "bindings" / "python"), "LLADA_LIBRARY": llada._abi.lib._name}
    done = subprocess.run([sys.executable, file, model], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_path_is_a_script_that_does_the_same(tiny, tmp_path):
    page = Page(tiny)
    page.ask(prompt='What is "347"\nplus 586?')
    by_hand(page)
    code = page("save", lane=0, form="code")["text"]
    assert run(code, MODELS / "tiny-2.1", tmp_path) == page.decoder().canvas.tolist()
    # One that begins in the midst of an answer.
    with tiny.decoder(QUESTION, S, gen_length=64) as decoder:
        decoder.step()
        decoder.forward()
        session = Session([source(tiny)], 1 << 30)
        session.begin(decoder.fork())
    session.call("do", {"lanes": [0], "action": ["set_token", 50, 30]})
    session.call("do", {"lanes": [0], "action": ["step"]})
    code = session.call("save", {"lane": 0, "form": "code"})["text"]
    assert run(code, MODELS / "tiny-2.1", tmp_path) == session.lanes[0].look.canvas.tolist()
    trace = session.call("save", {"lane": 0, "form": "trace"})["text"]
    assert llada.Trace.load(io.BytesIO(trace.encode())).replay(tiny) is None


@pytest.mark.parametrize(
    "policy",
    [
        S,
        llada.Policy.quality(threshold=0.9, mbe_window=2),
        llada.Policy.low_confidence(steps=4, temperature=0.5, top_k=7),
        llada.Policy.levenshtein(variant="indel", seed=2**40),
    ],
)
def test_policies_are_written_as_short_as_can_be(policy):
    code = policy_code(policy)
    assert eval(f"llada.Policy.{code}", {"llada": llada}) == policy and len(code) < 60


def test_two_side_by_side(tiny, editing):
    page = Page(tiny, editing)
    page.ask((0, llada.Policy.low_confidence()), (1, llada.Policy.levenshtein()))
    assert [lane["model"] for lane in page.lanes] == ["tiny-2.1", "tiny-2.2"]
    page.end(lanes=(0, 1))
    for lane, (model, policy) in enumerate(
        [(tiny, llada.Policy.low_confidence()), (editing, llada.Policy.levenshtein())]
    ):
        with model.decoder(QUESTION, policy, gen_length=64) as decoder:
            decoder.run()
            same(page.lanes[lane], decoder)
            assert page.lanes[lane]["counts"]["tpf"] == round(decoder.result.tpf, 2)


def test_with_and_without_an_edit(tiny):
    page = Page(tiny)
    page.ask()
    page.do("step")
    page("compare", on=True)
    assert page.lanes[0] == page.lanes[1]
    draft = page.lanes[1]["states"].index("2")
    page.do("set_token", draft, 500, lanes=(1,))
    page.do("lock", draft, True, lanes=(1,))
    assert page.lanes[0]["canvas"] != page.lanes[1]["canvas"]
    page.do("step", lanes=(0, 1))  # both need a forward, and get one
    page.end(lanes=(0, 1))
    for lane in (0, 1):
        with tiny.decoder(QUESTION, S, gen_length=64) as decoder:
            decoder.step()
            if lane:
                decoder.set(draft, 500)
                decoder.lock(draft)
            decoder.run()
            same(page.lanes[lane], decoder)
    page("compare", on=False)
    assert len(page.lanes) == 1


def test_a_position_tells_its_history_where_it_stood(editing):
    page = Page(editing)
    page.ask((0, llada.Policy.levenshtein()), prompt="What's 2159 plus 840?")
    trace = editing.generate("What's 2159 plus 840?", llada.Policy.levenshtein(), gen_length=64, record=True).trace
    page.end()
    moves = [event for step in trace.steps for event in step.events if event.moves]
    assert {event.kind for event in moves} == {"insert", "delete"}
    # Followed forwards by an independent hand: what was written last at each position, and when.
    notes = np.zeros(len(trace.start.canvas), object)
    for step in trace.steps:
        for event in step.events:
            if event.moves:
                event.move(notes, (event.kind, step.forwards))
            else:
                notes[event.position] = (event.kind, step.forwards)
    words = {
        "unmask": "wrote",
        "replace": "replaced",
        "insert": "inserted",
        "delete": "mask moved in",
        "remask": "masked",
    }
    for place in range(page.lanes[0]["prompt"], len(page.lanes[0]["canvas"])):
        history = [entry for entry in page("cell", lane=0, position=place)["history"] if entry["why"] != "forward"]
        if notes[place] == 0:
            assert history == []
        else:
            kind, forwards = notes[place]
            assert history[-1]["what"].startswith(words[kind]) and history[-1]["forwards"] == forwards


def test_a_position_tells_candidates_and_experts(tiny):
    page = Page(tiny)
    page.ask()
    page("half", lanes=[0])
    with tiny.decoder(QUESTION, S, gen_length=64) as decoder:
        decoder.watch(routing=True)
        decoder.forward()
        told = page("cell", lane=0, position=31)
        found = decoder.candidates(31, 12)
        assert [c[0] for c in told["candidates"]] == [c.token for c in found]
        np.testing.assert_allclose([c[2] for c in told["candidates"]], [c.probability for c in found], atol=1e-6)
        for layer, chosen in told["experts"]:
            routing = decoder.routing(layer)
            assert [expert for expert, _ in chosen] == routing.experts[31 - decoder.rows.positions[0]].tolist()
        assert [layer for layer, _ in told["experts"]] == [1, 2, 3]
    assert page("tokens", lane=0, text=" 42")["tokens"] == [
        [int(token), tiny.tokenizer.decode([token])] for token in tiny.tokenizer.encode(" 42")
    ]
    assert page("tokens", lane=0, text="#285")["tokens"] == [[285, tiny.tokenizer.decode([285])]]


def test_cancelling_leaves_everything_as_it_was(tiny):
    page = Page(tiny)
    page.ask()
    before = page.lanes[0]
    fork = page.session.tree._fork

    def cancelled(*arguments):
        decoder = fork(*arguments)
        page.session.tree.working = [decoder]
        page.session.cancel()
        return decoder

    page.session.tree._fork = cancelled
    with pytest.raises(llada.Cancelled):
        page.do("step")
    page.session.tree._fork = fork
    assert page("hello")["lanes"] == [before] and page.do("step")["counts"]["forwards"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("format_disk", {}, "no call"),
        ("__init__", {}, "no call"),
        ("_answer", {"since": 0, "epoch": 0}, "no call"),
        ("hello", {"more": 1}, "unexpected"),
        ("hello", [], "no call"),
        ("do", {"lanes": [0], "action": ["close"]}, "no action 'close'"),
        ("do", {"lanes": [0], "action": "step"}, "must be a list"),
        ("do", {"lanes": [0], "action": ["step", 1]}, "no action 'step'"),
        ("do", {"lanes": [0], "action": ["set_token", 1]}, "2 arguments"),
        ("do", {"lanes": [0], "action": ["set_token", 1, "x"]}, "integer"),
        ("do", {"lanes": [0], "action": ["set_token", 1, True]}, "integer"),
        ("do", {"lanes": [0], "action": ["set_token", 10**9, 1]}, "1000000000"),
        ("do", {"lanes": [0], "action": ["set_token", 2**40, 1]}, "must be from"),
        ("do", {"lanes": [0], "action": ["lock", 1, 1]}, "true or false"),
        ("do", {"lanes": [0], "action": ["end_block", 9]}, "end of a block"),
        ("do", {"lanes": [0], "action": ["set_proposal", [[1, 2]]]}, "an edit must be"),
        ("do", {"lanes": [0], "action": ["set_proposal", [[1, 2, 0, "explode"]]]}, "kind"),
        ("do", {"lanes": [0], "action": ["set_logit_bias", 1, 2, "loud"]}, "number"),
        ("do", {"lanes": [0], "action": ["fork", {"path": "/etc"}]}, "a policy has no 'path'"),
        ("do", {"lanes": [0], "action": ["fork", {"kind": "wild"}]}, "Policy.kind"),
        ("do", {"lanes": [0], "action": ["fork", {"threshold": "high"}]}, "number"),
        ("do", {"lanes": [1], "action": ["step"]}, "lane is 1"),
        ("do", {"lanes": [], "action": ["step"]}, "lanes must be"),
        ("go", {"lane": 0, "node": 99}, "no state 99"),
        ("go", {"lane": 0, "node": "1"}, "no state '1'"),
        ("cell", {"lane": 0, "position": -1}, "position"),
        ("cell", {"lane": 0, "position": 10**6}, "not on the canvas"),
        ("tokens", {"lane": 0, "text": "#99999999"}, "token"),
        ("save", {"lane": 0, "form": "../../etc"}, "a form is"),
        ("load", {"text": 7}, "must be text"),
        ("ask", {"prompt": ["x"], "lanes": [{}]}, "must be text"),
        ("ask", {"prompt": "x", "lanes": []}, "one or two"),
        ("ask", {"prompt": "x", "lanes": [{"model": 3, "policy": {}}]}, "model is 3"),
        ("ask", {"prompt": "x", "lanes": [{"policy": {}}], "options": {"rule": 1}}, "options must be"),
        ("ask", {"prompt": "x", "lanes": [{"policy": {}}], "options": {"gen_length": -5}}, "gen_length"),
        ("would", {"lane": 0, "policy": None}, "a policy must be"),
    ],
)
def test_nonsense_is_refused_in_words(tiny, name, arguments, message):
    page = Page(tiny)
    page.ask()
    before = page("hello")
    with pytest.raises((llada.Error, TypeError, ValueError), match=message):
        page.session.call(name, arguments)
    assert page("hello") == before


def test_nothing_can_be_done_before_something_was_asked(tiny):
    page = Page(tiny)
    for name, arguments in (
        ("do", {"lanes": [0], "action": ["step"]}),
        ("half", {"lanes": [0]}),
        ("compare", {"on": True}),
    ):
        with pytest.raises(StateError, match="nothing was asked"):
            page(name, **arguments)
    assert action_of(["set_logit_bias", 3, -1, None]) == ("set_logit_bias", 3, -1, -np.inf)


def test_everything_is_given_back(alone):
    used = alone.memory_used
    page = Page(alone)
    page.ask()
    page.end()
    page("save", lane=0, form="trace")
    assert alone.memory_used > used
    page.session.close()
    assert alone.memory_used == used


def test_a_notebook_needs_anywidget(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "llada.play.widget", raising=False)
    with tiny.decoder(QUESTION, S) as decoder, pytest.raises(ImportError, match=r"pip install anywidget"):
        decoder.play()


def test_the_page_as_one_module_imports_nothing():
    whole = parts.whole("widget.js")
    assert not re.search(r"^import |^export (?!default)", whole, re.M) and whole.count("export default") == 1
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", whole, re.M)
    assert len(names) == len(set(names)) > 40
    folder = Path(parts.__file__).parent / "page"
    assert {file.name for file in folder.glob("*.js")} == {*parts.MODULES, "main.js", "widget.js"}
    for index, name in enumerate(parts.MODULES):  # from the ground up
        assert set(re.findall(r'from "\./([\w.]+)"', parts.part(name))) <= set(parts.MODULES[:index])
