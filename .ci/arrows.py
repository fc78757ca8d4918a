#!/usr/bin/env python3
"""Fails where an arrow of the house turns back: a room of Sources/LLaDA may name only rooms on floors below its own.

    .ci/arrows.py [folder of the rooms]

Nothing in them imports what is built on the engine. A room is a folder. It names another one by a type that is declared
there (nested types aside), or by the `+Topic` file of such a type. docs/architecture.md says what lives on which floor.
"""

import re
import sys
from pathlib import Path

FLOORS = [
    {"Runtime"},
    {"Checkpoint"},
    {"Weights", "KeyValues", "Text"},
    {"Forward"},
    {"Sequence", "Scoring"},
    {"Decoder"},
    {"Snapshot"},
    {"Model"},
]
DECLARATION = re.compile(r"^(?:\w+(?:\([^)]*\))? )*?(?:class|struct|enum|protocol|typealias|actor) (\w+)", re.M)
ABOVE = re.compile(r"^import (CAPI|CLLaDA|LLaDA)\b", re.M)
# What is written about, not used: comments, and the contents of strings (interpolations are lost with them).
NO_CODE = re.compile(r'""".*?"""|#"(?:.*?)"#|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)


def main(folder: Path) -> int:
    floor = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}
    files = {path: NO_CODE.sub('""', path.read_text()) for path in sorted(folder.rglob("*.swift"))}
    problems, home = [], {}
    for path, code in files.items():
        room = path.relative_to(folder).parts[0]
        if room not in floor:
            problems.append(f"{path}: {room} stands on no floor; .ci/arrows.py lists them")
        home |= dict.fromkeys(DECLARATION.findall(code), room)
    for path, code in files.items():
        room = path.relative_to(folder).parts[0]
        problems += [f"{path}: imports {name}, which stands above it" for name in ABOVE.findall(code)]
        for number, line in enumerate(code.splitlines(), 1):
            for name in re.findall(r"(?<![.\w])[A-Z]\w*", line):
                other = home.get(name, room)
                if other != room and floor.get(other, 0) >= floor.get(room, 0):
                    here, there = f"{room} (floor {floor.get(room)})", f"{other} (floor {floor.get(other)})"
                    problems.append(f"{path}:{number}: {here} names {name} of {there}")
    print("\n".join(problems) or f"{len(files)} files on {len(FLOORS)} floors, and no arrow turns back")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "Sources/LLaDA")))
