"""`llada COMMAND`, as scripts and people call it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from importlib import import_module

import pytest

import llada
from conftest import CONFORMANCE, ROOT, heed_ctrl_c
from llada.__main__ import COMMANDS as MODULES
from llada.__main__ import main

TINY = ROOT / "examples" / "models" / "tiny-2.1"
QUESTION = "What is 17 plus 25?"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}


def command(*arguments, module="llada", **options):
    line = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, **options)


def test_the_script_of_the_package():
    project = (ROOT / "bindings" / "python" / "pyproject.toml").read_text().partition("[project.scripts]\n")[2]
    module, name = re.match(r'llada = "([\w.]+):(\w+)"\n', project).groups()
    assert getattr(import_module(module), name) is main


COMMANDS = ["run", "chat", "play", "serve", "inspect", "convert", "trace"]


def here(arguments, capsys):
    """A command in this process: its status, what it prints, and what it says."""
    try:
        status = main([str(each) for each in arguments])
    except SystemExit as ended:
        status = ended.code
    return (status, *capsys.readouterr())


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    status, printed, said = here([name, "--help"], capsys)
    assert (status, said) == (0, "") and printed.startswith(f"usage: llada {name} ")
    if name not in ("run", "chat"):
        with pytest.raises(SystemExit):
            import_module("llada." + MODULES[name][0]).main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: python -m llada.{name} ")


def test_what_there_is(capsys):
    status, printed, _ = here(["--help"], capsys)
    assert status == 0 and all(re.search(rf"^  {name} ", printed, re.M) for name in COMMANDS)
    assert command("--version").stdout == llada.build_info() + "\n"
    for wrong in ((), ("dance",), ("run",), ("run", TINY, "x", "--gen-length", "many"), ("serve",)):
        status, printed, said = here(wrong, capsys)
        assert status == 2 and printed == "" and said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("run", "/nowhere", "x"), "/nowhere"),
        (("run", TINY, "x", "--gen-length", "0"), "gen_length"),
        (("run", TINY, "x", "--dtype", "int3"), "int3"),
        (("chat", "/nowhere"), "/nowhere"),
        (("serve", "/nowhere", "--port", "0"), "/nowhere"),
        (("play", "/nowhere", "--no-browser"), "/nowhere"),
        (("convert", "/nowhere", "/nowhere/out"), "/nowhere"),
        (("convert", TINY, "/proc/nothing/out"), "/proc/nothing"),
        (("trace", "record", "/nowhere", "x"), "/nowhere"),
        (("trace", "replay", "/nowhere", TINY), "/nowhere"),
        (("run", CONFORMANCE / "gqa_group", "x"), "tokenizer"),
    ],
)
def test_an_error_is_a_line_and_a_status(arguments, said, capsys):
    status, printed, errors = here(arguments, capsys)
    lines = errors.splitlines()
    assert status == 1 and printed == "" and lines[-1].startswith(f"llada {arguments[0]}: ")
    assert said in lines[-1] and all(line.startswith(f"llada {arguments[0]}: ") for line in lines)


def test_run():
    with llada.Model.load(TINY) as model:
        own = model.generate(QUESTION, llada.Policy.speedy())
        drawn = model.generate(QUESTION, llada.Policy.quality(temperature=1.5, seed=4), gen_length=20)
        system = model.tokenizer.chat(
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
        )
        brief, raw = model.generate(system), model.generate(QUESTION, chat=False, gen_length=20)
    nowhere = command("run", "/nowhere", QUESTION)
    assert nowhere.returncode == 1 and nowhere.stdout == "" and len(nowhere.stderr.splitlines()) == 1
    done = command("run", TINY, QUESTION, "--policy", "speedy")
    assert (done.returncode, done.stdout, done.stderr) == (0, own.text + "\n", "")
    told = json.loads(command("run", TINY, "--policy", "speedy", "--json", input=QUESTION).stdout)
    assert told.pop("tokens") == own.tokens.tolist() and told.pop("text") == own.text
    assert told == {"finish_reason": "eos", "forwards": own.forwards, "tpf": own.tpf, "edits": own.edits}
    sampled = command("run", TINY, QUESTION, "--temperature", "1.5", "--seed", "4", "--gen-length", "20")
    assert sampled.stdout == drawn.text + "\n"
    assert command("run", TINY, QUESTION, "--system", "Be brief.").stdout == brief.text + "\n"
    assert command("run", TINY, QUESTION, "--raw", "--gen-length", "20").stdout == raw.text + "\n"


def test_a_reader_who_goes_away():
    line = f"{sys.executable} -m llada inspect {TINY} --bandwidth 0 --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout.strip() in ("0", "141") and done.stderr == ""


def test_chat():
    done = command("chat", TINY, input="What is 17 plus 25?\nWhat is 38 plus 46?\n")
    reused = [int(n) for n in re.findall(r"\[(\d+) of \d+ tokens read before; ", done.stdout)]
    assert "Answer: 42" in done.stdout and len(reused) == 2 and reused[0] == 0 and reused[1] >= 32
    anew = command("chat", TINY, input="What is 17 plus 25?\n\nWhat is 17 plus 25?\n").stdout
    assert anew.count("Answer: 42") == 2


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *arguments):
        self.sent = ""
        self.process, self.end = pty.fork()
        if self.process == 0:
            os.environ.update(TERM="xterm", PYTHONPATH=ENVIRONMENT["PYTHONPATH"])
            os.execv(sys.executable, [sys.executable, "-m", "llada", *map(str, arguments)])

    def until(self, pattern):
        """What it sends up to a pattern."""
        end = time.monotonic() + 30
        while not (found := re.search(pattern, self.sent)):
            assert time.monotonic() < end, self.sent
            if select.select([self.end], [], [], 1)[0]:
                self.sent += os.read(self.end, 4096).decode()
        shown, self.sent = self.sent[: found.end()], self.sent[found.end() :]
        return shown

    def type(self, text):
        os.write(self.end, text.encode())

    def status(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        os.close(self.end)
        return status


def test_chat_in_a_terminal():
    """An answer is stopped by Ctrl-C, and the conversation goes on as if it had not been asked for."""
    terminal = Terminal("chat", TINY, "--gen-length", "2000", "--temperature", "2", "--policy", "low_confidence")
    terminal.until("> ")
    terminal.type("Count.\r")
    terminal.until("\x1b\\[2m")
    terminal.type("\x03")
    terminal.until(r"\[(stopped|\d+ of \d+ tokens read)")
    terminal.until("> ")
    terminal.type("\x04")
    assert terminal.status() == 0


def test_ctrl_c():
    """In a script, Ctrl-C is the end."""
    line = [sys.executable, "-m", "llada", "chat", str(TINY)]
    process = subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=heed_ctrl_c,
    )
    process.stdin.write(b"What is 2 plus 3?\n")
    process.stdin.flush()
    time.sleep(1.5)
    process.send_signal(2)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, b"")
