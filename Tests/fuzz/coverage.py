"""Reports which lines of its loader each target's corpus reaches: coverage.py FOLDER TARGET...

FOLDER has an lcov file for each target. Below 85 %, the functions and lines that are not reached are named.
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ENOUGH = 0.85

# What stands behind each door, under Sources.
LOADERS = {
    "safetensors": (
        "LLaDA/Checkpoint/Safetensors.swift",
        "LLaDA/Checkpoint/TensorNames.swift",
    ),
    "shard_index": ("LLaDA/Checkpoint/ShardIndex.swift",),
    "config": (
        "LLaDA/Checkpoint/ModelConfig*.swift",
        "LLaDA/Checkpoint/ConfigFields.swift",
        "LLaDA/Checkpoint/RopeFields.swift",
        "LLaDA/Checkpoint/YaRN.swift",
        "LLaDA/Checkpoint/JSON.swift",
        "LLaDA/Checkpoint/JSONParser.swift",
        "LLaDA/Model/SpecialTokens.swift",
    ),
    "tokenizer": (
        "LLaDA/Text/Tokenizer/*.swift",
        "LLaDA/Text/Pattern/*.swift",
        "LLaDA/Text/Normalization/NFC.swift",
        "LLaDA/Text/UTF8Text.swift",
    ),
    "chat": (
        "LLaDA/Text/Chat/ChatLayout.swift",
        "LLaDA/Text/Chat/ChatMessage*.swift",
        "LLaDA/Checkpoint/JSON+Python.swift",
        "LLaDA/Checkpoint/JSONText.swift",
    ),
    "chat_template": ("LLaDA/Text/Chat/ChatTemplate*.swift", "LLaDA/Text/Chat/JinjaText.swift"),
    "gguf": ("LLaDA/Checkpoint/GGUF/*.swift",),
    "packed": ("LLaDA/Weights/PackedFile.swift", "LLaDA/Checkpoint/SafetensorsHeader.swift"),
    "fp8": ("LLaDA/Checkpoint/BlockFP8.swift",),
    "snapshot": (
        "LLaDA/Snapshot/Decoder*.swift",
        "LLaDA/Snapshot/Snapshot*.swift",
        "LLaDA/Snapshot/StateCoder.swift",
    ),
    "prefix_cache": ("LLaDA/Snapshot/PrefixCache+Snapshot.swift", "LLaDA/Sequence/Prefix*.swift"),
    "text_stream": ("LLaDA/Model/TextStream.swift", "CAPI/TextStream.swift"),
    "calls": ("CAPI/*.swift", "LLaDA/Decoder/*.swift", "LLaDA/Decoder/Policy/*.swift"),
}

# What several doors lead to: the lines that any of them reaches.
SHARED = {
    "opening": (
        ("safetensors", "shard_index", "fp8", "packed", "gguf", "calls"),
        (
            "LLaDA/Checkpoint/OpenCheckpoint.swift",
            "LLaDA/Checkpoint/SideFiles.swift",
            "LLaDA/Checkpoint/WrongFile.swift",
            "LLaDA/Checkpoint/Checkpoint.swift",
            "LLaDA/Checkpoint/Tensor.swift",
            "LLaDA/Checkpoint/TensorSource.swift",
            "LLaDA/Weights/*.swift",
        ),
    ),
    "all sources": (tuple(LOADERS), ("*.swift",)),
}


def lines_of(path: Path) -> tuple[dict[str, dict[int, bool]], dict[str, dict[str, tuple[int, bool]]]]:
    """By file under Sources: whether each line is reached, and each function's first line and whether it is."""
    lines: dict[str, dict[int, bool]] = defaultdict(dict)
    starts: dict[str, int] = {}
    functions: dict[str, dict[str, tuple[int, bool]]] = defaultdict(dict)
    file = ""
    for row in path.read_text("utf-8").splitlines():
        kind, _, value = row.partition(":")
        if kind == "SF":
            file = value.rpartition("/Sources/")[2]
        elif kind == "FN":
            first, _, name = value.partition(",")
            starts[name] = int(first)
        elif kind == "FNDA":
            count, _, name = value.partition(",")
            functions[file][name] = (starts[name], int(count) > 0)
        elif kind == "DA":
            number, count = value.split(",")[:2]
            lines[file][int(number)] = int(count) > 0
    return lines, functions


def ranges(numbers: list[int]) -> str:
    """5, 6, 7, 9 as "5-7, 9"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def demangled(names: list[str]) -> list[str]:
    if not names:
        return []
    plain = [name.rpartition(":")[2] for name in names]
    done = subprocess.run(
        ["swift", "demangle", "--simplified", "--compact"], input="\n".join(plain), capture_output=True, text=True
    )
    return done.stdout.splitlines() if done.returncode == 0 else plain


def report(folder: Path, name: str, targets: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    lines: dict[str, dict[int, bool]] = defaultdict(dict)
    functions: dict[str, dict[str, tuple[int, bool]]] = defaultdict(dict)
    for target in targets:
        here, called = lines_of(folder / f"{target}.lcov")
        for file in here:
            if any(fnmatch.fnmatch(file, pattern) for pattern in patterns):
                for number, is_reached in here[file].items():
                    lines[file][number] = lines[file].get(number, False) or is_reached
                for function, (start, is_reached) in called[file].items():
                    before = functions[file].get(function, (start, False))[1]
                    functions[file][function] = (start, before or is_reached)
    reached, total = sum(sum(file.values()) for file in lines.values()), sum(map(len, lines.values()))
    print(f"{name:14} {100 * reached / total:5.1f} % of {total} lines in {len(lines)} files")
    if reached >= ENOUGH * total or name == "all sources":
        return
    for file in sorted(lines):
        missing = sorted(number for number, is_reached in lines[file].items() if not is_reached)
        if missing:
            print(f"    {file}: {ranges(missing)}")
            never = demangled([name for name, (_, is_reached) in functions[file].items() if not is_reached])
            named = [name for name in never if "closure #" not in name and "initialization expression" not in name]
            if named:
                print(f"        never called: {', '.join(named)}")


def main() -> None:
    folder, given = Path(sys.argv[1]), sys.argv[2:]
    for target, patterns in LOADERS.items():
        if target in given:
            report(folder, target, (target,), patterns)
    for name, (targets, patterns) in SHARED.items():
        if set(targets) <= set(given):
            report(folder, name, targets, patterns)


if __name__ == "__main__":
    main()
