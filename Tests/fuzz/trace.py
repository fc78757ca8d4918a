"""The files of traces, which Python reads: a small fuzzer led by the lines that it reaches.

trace.py run SECONDS PREFIX FOLDER...   mutates the inputs of the folders; what reaches more goes into the first, what
                                        is wrong into files that begin with PREFIX
trace.py minimise OUT FOLDER...         copies the fewest inputs that reach as much
trace.py replay FILE...                 runs inputs

An input is a file of a trace. Reading it ends in a Trace or a TraceError, and a Trace can be saved, drawn and told.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import llada
from llada.trace import Trace, TraceError

LONGEST = 1 << 15
WATCHED = str(Path(llada.__file__).parent / "trace") + os.sep
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# (file, line before, line): the lines that one run went through, and how they followed each other.
Reached = set[tuple[str, int, int]]


def read(data: bytes, folder: Path) -> None:
    """Raises whatever should not be."""
    path, again = folder / "trace.jsonl", folder / "again.jsonl"
    path.write_bytes(data)
    for partial in (False, True):
        try:
            trace = Trace.load(path, partial=partial)
        except TraceError as error:
            str(error).encode()
            continue
        trace.save(again)
        repr(trace), trace.canvases, trace.predictions, trace.confidences, trace.text
        if trace.result is not None:
            trace.step_map.sum()
        other = Trace.load(again, partial=True)
        if len(other.steps) != len(trace.steps) or not (other.canvas == trace.canvas).all():
            raise AssertionError("a trace that was saved is another one")
        if len(trace.start.canvas) <= 512:
            trace.play(delay=0, stream=io.StringIO(), width=40)
            trace.html(folder / "page.html")
            trace.svg(folder / "picture.svg")


def watched(run: Callable[[], None]) -> Reached:
    reached: Reached = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(WATCHED):
            return None
        before = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                reached.add((file, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        run()
    finally:
        sys.settrace(None)
    return reached


ODD: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, -(2**31), 2**53, 2**63, 1e300, -0.5, "", "x", "\ud800", [], {}, [[]], [None], [0]),
    *("set_token", "unmask", "replace", "remask", "host", "threshold", "eos", "AAAA"),
]


def mutate_value(value: Any, random: random.Random) -> Any:
    """One change, somewhere inside."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        copy = dict(value)
        if random.random() < 0.08:
            del copy[key]
        else:
            copy[key] = mutate_value(value[key], random)
        return copy
    if isinstance(value, list) and value and random.random() < 0.85:
        place, copy = random.randrange(len(value)), list(value)
        kind = random.randrange(6)
        if kind == 0:
            del copy[place]
        elif kind == 1:
            copy.insert(place, value[place])
        else:
            copy[place] = mutate_value(value[place], random)
        return copy
    if type(value) is int and random.random() < 0.7:
        return value + random.choice((-1, 1, 2, 7, -100, 1 << 20))
    return random.choice(ODD)


def mutate(data: bytes, others: list[bytes], random: random.Random) -> bytes:
    for _ in range(random.randint(1, 3)):
        lines = data.split(b"\n")
        place = random.randrange(len(lines))
        kind = random.randrange(8)
        if kind < 5:
            try:
                lines[place] = json.dumps(mutate_value(json.loads(lines[place]), random)).encode()
            except (ValueError, RecursionError):
                kind = 7
        if kind == 5:
            lines[place : place + 1] = random.choice(([], [lines[place]] * 2))
        elif kind == 6:
            lines[place] = random.choice(random.choice(others).split(b"\n"))
        elif kind == 7:
            line = bytearray(lines[place] or b"{}")
            at = random.randrange(len(line))
            line[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
            lines[place] = bytes(line)
        data = b"\n".join(lines)[:LONGEST]
    return data


def inputs(folders: list[str]) -> list[bytes]:
    found = {path.read_bytes() for folder in folders for path in sorted(Path(folder).iterdir())}
    return sorted(found, key=lambda data: (len(data), data))


def name_of(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def run(seconds: float, prefix: str, folders: list[str], folder: Path) -> None:
    """Prints the number of executions as libFuzzer does."""
    generator, end = random.Random(time.time_ns()), time.monotonic() + seconds
    known: Reached = set()
    corpus, failures, executions = [], set(), 0

    def execute(data: bytes) -> bool:
        nonlocal executions
        executions += 1
        started = time.monotonic()
        try:
            reached = watched(lambda: read(data, folder))
        except Exception as problem:
            kind = f"{type(problem).__name__} {problem}"[:60]
            if kind not in failures:
                failures.add(kind)
                Path(f"{prefix}crash-{name_of(data)}").write_bytes(data)
                print(f"{kind}: {prefix}crash-{name_of(data)}")
            return False
        if time.monotonic() - started > 5:
            Path(f"{prefix}slow-{name_of(data)}").write_bytes(data)
        is_new = not reached <= known
        known.update(reached)
        return is_new

    corpus = [data for data in inputs(folders) if execute(data)]
    while time.monotonic() < end and corpus:
        data = mutate(generator.choice(corpus), corpus, generator)
        if execute(data):
            corpus.append(data)
            (Path(folders[0]) / name_of(data)).write_bytes(data)
    print(f"{len(corpus)} inputs reach {len({(file, line) for file, _, line in known})} lines")
    print(f"stat::number_of_executed_units: {executions}")


def minimise(out: str, folders: list[str], folder: Path) -> None:
    reached: dict[bytes, Reached] = {}
    for data in inputs(folders):
        try:
            reached[data] = watched(lambda data=data: read(data, folder))  # type: ignore[misc]
        except Exception:
            continue
    left: Reached = set().union(*reached.values())
    while left:
        best = max(reached, key=lambda data: (len(reached[data] & left), -len(data)))
        left -= reached[best]
        (Path(out) / name_of(best)).write_bytes(best)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        command, arguments = (sys.argv[1:] or [""])[0], sys.argv[2:]
        if command == "run" and len(arguments) > 2:
            run(float(arguments[0]), arguments[1], arguments[2:], Path(name))
        elif command == "minimise" and len(arguments) > 1:
            minimise(arguments[0], arguments[1:], Path(name))
        elif command == "replay":
            for file in arguments:
                read(Path(file).read_bytes(), Path(name))
        else:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
