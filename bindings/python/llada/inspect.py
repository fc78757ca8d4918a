"""Says what a checkpoint is and what to expect of it here, without loading it: what belongs to a bug report.

    python -m llada.inspect path/to/checkpoint

The exit status is 0 if the checkpoint would load, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from . import build_info
from .commands.shell import exit_status
from .describing import describe


class Machine(NamedTuple):
    """Where this runs.

    Attributes:
        llada: The library and its kernels.
        python: The interpreter.
        cpu: The processor's name.
        threads: Those that this process may use.
        memory: Bytes; None if the system does not tell.
        available: Of them, bytes that are not in use.
        bandwidth: Bytes a second that all threads together read, or that were given; None if not measured.
    """

    llada: str
    python: str
    cpu: str
    threads: int
    memory: int | None
    available: int | None
    bandwidth: float | None


def machine(bandwidth: float | None) -> Machine:
    """This machine, its bandwidth measured unless it is given, in GB/s; 0: unknown."""
    memory = _table("/proc/meminfo")
    available = _kilobytes(memory.get("MemAvailable"))
    cpu = _table("/proc/cpuinfo").get("model name", os.uname().machine)
    threads = len(os.sched_getaffinity(0))
    read = read_bandwidth(threads, available) if bandwidth is None else bandwidth * 1e9 or None
    version = "Python " + sys.version.split()[0] + f", numpy {np.__version__}"
    return Machine(build_info(), version, cpu, threads, _kilobytes(memory.get("MemTotal")), available, read)


def _table(path: str) -> dict[str, str]:
    """The first value of each name in a file of lines "name: value"; nothing where there is no such file."""
    table: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                table.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    return table


def _kilobytes(text: str | None) -> int | None:
    return None if text is None else int(text.split()[0]) * 1024


def read_bandwidth(threads: int, available: int | None) -> float:
    """Bytes a second that the threads together read of memory that no cache holds: the best of some rounds, half a
    second in all."""
    size = min(512 << 20, (available or 2 << 30) // 8)
    numbers = np.ones(size // 8, np.uint64)
    pieces = np.array_split(numbers, threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        end = time.perf_counter() + 0.5
        while best == 0 or time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, pieces))  # numpy lets go of the interpreter meanwhile
            best = max(best, size / (time.perf_counter() - start))
    return best


def report(description: dict[str, Any], here: Machine) -> str:
    """The description for people, as plain text."""
    rows = [
        ("llada", here.llada[len("llada ") :] + ", " + here.python),
        ("processor", f"{here.cpu}, {here.threads} thread{'s' * (here.threads != 1)}"),
        ("memory", _memory(here)),
        ("checkpoint", description["path"]),
        ("loads", "yes" if description["loads"] else "no: see the problems below"),
        ("family", _family(description["family"])),
        ("container", description["container"] or "cannot be told"),
    ]
    if description["stored"]:
        rows.append(("stored", "; ".join(map(_stored, description["stored"]))))
    if description["parameters"]:
        rows.append(("parameters", f"{description['parameters']:,}"))
    if description["config"]:
        rows += _shape(description["config"])
    rows += _text(description)
    parts = ["\n".join(f"{name:12}{value}" for name, value in rows)]
    if description["memory"]:
        parts.append(_formats(description, here))
    for name in ("notes", "problems"):
        if description[name]:
            lines = [each if isinstance(each, str) else each["message"] for each in description[name]]
            parts.append(f"{name}\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts)


def _memory(here: Machine) -> str:
    parts = []
    if here.memory is not None:
        free = "" if here.available is None else f", {_bytes(here.available)} of it available"
        parts.append(_bytes(here.memory) + free)
    if here.bandwidth is not None:
        parts.append(f"read at {here.bandwidth / 1e9:.1f} GB/s")
    return "; ".join(parts)


def _family(family: dict[str, Any]) -> str:
    return f"LLaDA{family['name']}, by {family['evidence']}" if family["name"] else f"unknown: {family['evidence']}"


def _stored(kind: dict[str, Any]) -> str:
    return f"{kind['type']}: {kind['tensors']:,} tensor{'s' * (kind['tensors'] != 1)}, {_bytes(kind['bytes'])}"


def _shape(config: dict[str, Any]) -> list[tuple[str, str]]:
    layers = f"{config['num_hidden_layers']} of width {config['hidden_size']:,}"
    if config["num_experts"]:
        layers += f", {config['first_k_dense_replace']} without experts"
    experts = f"{config['num_experts']} a layer, {config['num_experts_per_tok']} for a token"
    if config["num_shared_experts"]:
        experts += f" and {config['num_shared_experts']} for all"
    if config["expert_capacity"]:
        experts += f", {config['expert_capacity']} for a block"
    heads = f"{config['num_attention_heads']}, {config['num_key_value_heads']} of keys and values"
    context = f"{config['max_position_embeddings']:,} tokens" + (" by YaRN" if config["yarn"] else "")
    rows = [("layers", layers), ("experts", experts), ("heads", heads), ("context", context)]
    return rows if config["num_experts"] else [row for row in rows if row[0] != "experts"]


def _text(description: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if description["config"]:
        mask, ends = description["mask_token"], description["eos_tokens"]
        rows.append(("mask", f"{mask['id']}, from {mask['source']}" if mask else "unknown: give mask_token_id"))
        found = ", ".join(str(end["id"]) for end in ends)
        rows.append(("ends", f"{found}, from {ends[0]['source']}" if ends else "none: give eos_token_id"))
        delete, split = description["delete_token"], description["split_token"]
        if delete and split:
            rows.append(("edits", f"{delete['id']} deletes, {split['id']} inserts, from {delete['source']}"))
    tokenizer, chat = description["tokenizer"], description["chat"]
    if tokenizer is None:
        return [*rows, ("tokenizer", "none")]
    line = f"{tokenizer['vocabulary_size']:,} tokens, {tokenizer['added_tokens']} of them added"
    line += f" ({tokenizer['control_tokens']} control tokens)"
    if description["config"]:
        size = description["config"]["vocab_size"]
        line += f"; the model's vocabulary is {size:,}"
    rows.append(("tokenizer", line))
    if chat is not None:
        layout = "the layout of LLaDA2" if chat["known_layout"] else "another layout"
        rows.append(("chat", layout + (f": {chat['evidence']}" if chat["evidence"] else "")))
    return rows


def _formats(description: dict[str, Any], here: Machine) -> str:
    """The table of memory and steps."""
    head = ["dtype", "weights", "opening takes", "workspace", "K/V of 1,000 tokens", "a step reads"]
    head.append("a step takes at least")
    table = [head]
    for each in description["memory"]:
        step = each["step_bytes"]
        least = "" if not here.bandwidth else f"{step / here.bandwidth * 1000:,.1f} ms"
        room = here.available is not None and each["weight_bytes"] > here.available
        opening = f"{_bytes(each['opening_bytes'])}, then {_bytes(each['open_bytes'])}"
        if each["fits"] is False:
            opening += f" (more than the {_bytes(description['memory_bytes'])} there are"
            if each["mmap_fits"] and each["mmap_open_bytes"] < each["open_bytes"]:
                opening += f"; with use_mmap=True {_bytes(each['mmap_open_bytes'])}, and steps read the disk"
            opening += ")"
        table.append(
            [
                each["dtype"],
                _bytes(each["weight_bytes"]) + (" (more than is available here)" if room else ""),
                opening,
                _bytes(each["workspace_bytes"]),
                f"{_bytes(1000 * each['kv_bytes_per_token'])} ({each['kv_dtype']})",
                _bytes(step),
                least,
            ]
        )
    if not here.bandwidth:
        table = [row[:-1] for row in table]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
    about = f"A step is one forward over {description['step_tokens']} tokens"
    if description["expected_experts"]:
        about += (
            f". It is taken to use {description['expected_experts']:.0f} of the "
            f"{description['config']['num_experts']} experts of a layer, as if they were drawn at random"
        )
    return "\n".join([*lines, about + ": an estimate."])


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def main(arguments: list[str] | None = None, prog: str = "python -m llada.inspect") -> int:
    """The command; returns its exit status."""
    options = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").split("\n")[0])
    options.add_argument("path", help="a checkpoint: a folder, or a GGUF file")
    options.add_argument(
        "--json", action="store_true", help="what llada.h says of llada_model_describe, and the machine"
    )
    options.add_argument(
        "--bandwidth",
        type=float,
        metavar="GB/S",
        help="how fast memory is read, in place of measuring it; 0: not said",
    )
    choice = options.parse_args(arguments)
    return exit_status(prog, lambda: inspect(choice))


def inspect(choice: argparse.Namespace) -> int:
    """Prints it."""
    description = describe(choice.path)
    here = machine(choice.bandwidth)
    if choice.json:
        print(json.dumps({**description, "machine": here._asdict()}, indent=2, ensure_ascii=False))
    else:
        print(report(description, here))
    return 0 if description["loads"] else 1


if __name__ == "__main__":
    sys.exit(main())
