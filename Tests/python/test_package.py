"""The package around the library: policies, prompts, drawing, the progress bar, finding the library, the examples."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import CONFORMANCE, ROOT, load

import llada
from llada import Policy, drawing
from llada.progress import Bar, bar_for

PACKAGE = ROOT / "bindings" / "python" / "llada"


def test_policies():
    assert Policy() == Policy.quality() == Policy.joint_threshold()
    assert Policy.speedy() == Policy.joint_threshold(threshold=0.5, editing_threshold=0.0)
    assert Policy.speedy(threshold=0.6).editing_threshold == 0.0
    assert Policy.quality(mbe_window=2, temperature=0.5, seed=3).replace(seed=4).seed == 4
    assert Policy.low_confidence(0.9, 16, 2) == Policy.low_confidence(threshold=0.9, steps=16, minimal_topk=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().threshold = 0.1
    assert len({Policy.speedy(), Policy.speedy(), Policy.quality()}) == 2
    for policy in (Policy.speedy(top_p=0.9), Policy.low_confidence(steps=3)):
        assert eval(repr(policy)) == policy


def test_model_info():
    with load("gqa_group") as model:
        info = model.info
        assert (info.vocab_size, info.hidden_size, info.num_hidden_layers, info.num_experts) == (128, 64, 3, 16)
        assert (info.num_attention_heads, info.num_key_value_heads, info.head_dim) == (4, 2, 16)
        assert (model.mask_token_id, model.eos_token_id, info.threads) == (127, 126, 1)
        assert not info.has_tokenizer and not info.has_chat_template
        assert 0 < info.num_parameters * 4 <= info.weight_bytes + 4096
        assert (info.dtype, info.kv_dtype) == ("auto", "f32")
        assert "gqa_group" in repr(model)
    for dtype, kv_dtype, expected in (
        ("f32", "auto", "f32"),
        ("int8", "auto", "bf16"),
        ("int4", "f32", "f32"),
        ("f32", "bf16", "bf16"),
    ):
        with load("gqa_group", dtype=dtype, kv_dtype=kv_dtype) as model:
            assert (model.info.dtype, model.info.kv_dtype) == (dtype, expected)


def test_drawing():
    parts = drawing.spans([1, 2, 3, 4], ["prompt", "token", "mask", "mask"], lambda ids: "x" * len(ids))
    assert parts == [("prompt", "x"), ("token", "x"), ("mask", "░░")]
    assert drawing.lines([drawing.Span("token", "ab\ncd")], 80, False) == ["ab", "cd"]
    assert drawing.lines([drawing.Span("token", "日本語")], 4, False) == ["日本", "語"]
    assert drawing.lines([drawing.Span("token", "e\u0301" * 3)], 3, False) == ["e\u0301" * 3]
    # A terminal must not obey what a model writes.
    assert "\x1b" not in "".join(drawing.lines([drawing.Span("token", "\x1b[2J\x07")], 80, True))
    assert "<script>" not in drawing.html([drawing.Span("token", "<script>")], "&")


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


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_finding_the_library(tmp_path):
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    shutil.copytree(PACKAGE, tmp_path / "llada", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    environment = {"LLADA_LIBRARY": ""}
    lost = python(path + "import llada", **environment)
    assert lost.returncode == 1 and "ImportError" in lost.stderr and "LLADA_LIBRARY" in lost.stderr
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "llada.h").touch()
    unbuilt = python(path + "import llada", **environment)
    assert "ImportError" in unbuilt.stderr and "swift build -c release --product llada" in unbuilt.stderr
    wrong = python(path + "import llada", LLADA_LIBRARY=str(tmp_path / "nothing.so"))
    assert "ImportError" in wrong.stderr and "nothing.so" in wrong.stderr
    other = python(path + "import llada", LLADA_LIBRARY=shutil.which("sh"))
    assert "ImportError" in other.stderr
    found = python(path + "import llada; print(llada.__version__)", LLADA_LIBRARY=llada._abi.lib._name)
    assert found.stdout.strip() == llada.__version__, found.stderr
    shutil.copyfile(llada._abi.lib._name, tmp_path / "llada" / "libllada.so")
    beside = python(path + "import llada; print(llada._abi.lib._name)", **environment)
    assert beside.stdout.strip() == str((tmp_path / "llada" / "libllada.so").resolve()), beside.stderr


def test_nothing_is_printed():
    """A library is silent, from loading to the end of the process."""
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import llada\n"
        f"m = llada.Model.load({str(CONFORMANCE / 'gqa_group')!r}, mask_token_id=127, eos_token_id=126)\n"
        "m.generate([1, 2, 3], gen_length=16)\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_readme_works_when_pasted(capsys):
    text = (ROOT / "bindings" / "python" / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(snippets) >= 3
    for snippet in snippets:
        pasted, count = re.subn(r'"examples/models/', f'"{ROOT}/examples/models/', snippet)
        assert count == 1
        exec(pasted, {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", ["generate.py", "step.py"])
def test_examples(name):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "python" / name, "What is 2 plus 3?"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "forwards" in done.stdout and done.stderr == ""
    missing = subprocess.run(
        [sys.executable, ROOT / "examples" / "python" / name, "--model", "/nowhere"],
        capture_output=True,
        text=True,
    )
    assert missing.returncode == 1 and "/nowhere" in missing.stderr and "Traceback" not in missing.stderr


def test_best_of_n():
    done = example("best_of_n.py", "What is 2 plus 3?", "-n", "3")
    assert done.stdout.count("seed ") == 3 and done.stdout.count("\n* ") + done.stdout.startswith("* ") == 1
    forked, apart = map(int, re.findall(r"(\d+) positions computed; 3 separate runs: (\d+)", done.stdout)[0])
    assert forked < apart


def test_chat():
    done = example("chat.py", input="What is 17 plus 25?\nWhat is 38 plus 46?\n")
    reused = [int(n) for n in re.findall(r"\[(\d+) of \d+ tokens read before\]", done.stdout)]
    assert "Answer: 42" in done.stdout and len(reused) == 2 and reused[0] == 0 and reused[1] >= 32
    anew = example("chat.py", input="What is 17 plus 25?\n\nWhat is 17 plus 25?\n").stdout
    assert anew.count("Answer: 42") == 2


def test_batch(tmp_path):
    lines, objects, answers = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts = ["What is 12 plus 36?", "What is 34 plus 102?"]
    lines.write_text("\n\n".join(prompts))
    objects.write_text("\n".join(json.dumps({"question": prompt, "id": n}) for n, prompt in enumerate(prompts)))
    example("batch.py", lines, answers)
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    expected = [row["answer"] for row in rows]
    assert expected[0].endswith("Answer: 48")
    answers.unlink()
    example("batch.py", objects, answers, "--limit", "1")
    example("batch.py", objects, answers, "--in-flight", "1")  # goes on
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [(row["id"], row["answer"]) for row in rows] == list(enumerate(expected))


def example(name, *arguments, **options):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "python" / name, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done
