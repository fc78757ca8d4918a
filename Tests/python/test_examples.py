"""The scripts of examples/python, run as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llada
from conftest import ROOT


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


def in_terminal(command, columns=24, rows=8):
    """What a terminal of that size gets to see of a program, frame by frame as it moves the cursor up."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", COLUMNS=str(columns), LINES=str(rows))
        os.environ.pop("NO_COLOR", None)
        os.execvp("sh", ["sh", "-c", f'stty cols {columns} rows {rows}; exec "$@"', "sh", *map(str, command)])
    sent = b""
    try:
        while piece := os.read(terminal, 4096):
            sent += piece
    except OSError:  # how Linux says that the other side has closed
        pass
    assert os.waitpid(process, 0)[1] == 0, sent
    os.close(terminal)
    return sent.decode()


def screens(sent, columns=24):
    """The lines of the screen at each clearing, and at the end: cursor up, column, clear, and nothing else."""
    lines, row, column, seen = [""], 0, 0, []
    for part in re.findall(r"\x1b\[\d*[a-zA-Z]|[^\x1b]", sent):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part[0] != "\x1b":
            assert column < columns, "written beyond the edge"
            lines[row] = lines[row].ljust(column)[:column] + part
            column += 1
        elif part[-1] == "A":
            row -= int(part[2:-1])
            assert row >= 0
        elif part[-1] == "G":
            column = int(part[2:-1]) - 1
        elif part == "\x1b[J":
            seen.append("".join(lines))
            del lines[row + 1 :]
            lines[row] = lines[row][:column]
        else:
            assert part in ("\x1b[2m", "\x1b[m"), part
    return [*seen, "".join(lines)]


@pytest.mark.parametrize("language", ["c", "python"])
def test_a_draft_is_redrawn_in_its_place(language, tmp_path):
    """At each frame the screen has the settled text once, and the draft behind it; at the end, the answer alone."""
    question, model = "What is 638 plus 4613?", ROOT / "examples" / "models" / "tiny-2.1"
    with llada.Model.load(model) as opened:
        policy = llada.Policy.quality() if language == "c" else llada.Policy.speedy()
        decoder = opened.decoder(question, policy, gen_length=128)
        settled, frames = "", []
        for text, draft in opened.text_stream(mask="░").follow(decoder):
            settled += text
            frames.append(settled + draft)
    assert len(settled) > 72 and any(frame != settled for frame in frames)
    if language == "c":
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        library = Path(llada._abi.lib._name)
        (tmp_path / "libllada.so").symlink_to(library)
        program = tmp_path / "stream"
        source = ROOT / "examples" / "c" / "stream.c"
        link = ["-L", tmp_path, "-lllada", f"-Wl,-rpath,{library.parent}", f"-Wl,-rpath,{tmp_path}"]
        subprocess.run([compiler, "-std=c99", "-I", ROOT / "include", source, "-o", program, *link], check=True)
        (tmp_path / "libllada.so.0").symlink_to(library)
        assert screens(in_terminal([program, "-m", model, question]))[1:] == frames
        done = subprocess.run([program, "-m", model, question], capture_output=True, text=True, check=True)
        assert done.stdout == settled + "\n"
    else:
        (tmp_path / "questions").write_text(question + "\n")
        package = ROOT / "bindings" / "python"
        command = f"PYTHONPATH={package} {sys.executable} -m llada chat {model} --policy speedy <{tmp_path}/questions"
        before, first, rest = in_terminal(["sh", "-c", command]).partition("\x1b[J")
        drawn, _, behind = (first + rest).rpartition("\r\n  [")
        assert question in before and "tokens read before" in behind
        assert screens(drawn)[1:] == frames


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


def test_all_policies_answer():
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "python" / "policies" / "try_all.py",
            ROOT / "examples" / "models" / "tiny-2.1",
            "Ned has a goat and is 34 years old. Write that as JSON with the keys pet, name and age.",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 8 and all('{"pet": "goat", "name": "Ned", "age": 34}' in line for line in lines), done.stdout


def test_the_tutorial(tmp_path):
    """With fewer questions: as a script, cell after cell."""
    source = (ROOT / "examples" / "python" / "tutorial.py").read_text()
    assert source.count("PER_FAMILY = 50\n") == 1 and source.count("# %% [markdown]\n") == 8
    folder = tmp_path / "examples" / "python"
    folder.mkdir(parents=True)
    (folder / "tutorial.py").write_text(
        source.replace("PER_FAMILY = 50\n", "PER_FAMILY = 1\n").replace("delay=0.2", "delay=0")
    )
    for name in (
        "bindings",
        "examples/models",
        "examples/training",
        "examples/evaluation",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, folder / "tutorial.py", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "replayed: the same, bit for bit" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "draft.html",
        "draft.png",
        "together.html",
        "together.jsonl",
        "tutorial.png",
    }
    rows = re.findall(r"^  (S@|together )([\d.]+) +([\d.]+) ± [\d.]+ % +([\d.]+) a forward", done.stdout, re.M)
    assert len(rows) == 8 and all(0 <= float(share) <= 100 and float(tpf) > 1 for _, _, share, tpf in rows)
