"""Small files that were made to take much memory: at most four times their bytes, beside the mapped file itself.

Each runs in a process of its own, whose peak is that of the kernel. (What Python itself takes was there before.)
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest

from conftest import ROOT

MODEL = ROOT / "examples" / "models" / "tiny-2.0"
SIZE = int(os.environ.get("FOOTPRINT_BYTES", "4_000_000"))  # up to the 100 MB that a header may have
MULTIPLE = 4
SPARE = 4_000_000  # of a process: threads, tables of Unicode, the weights of the model

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from llada import Model, Error
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def peak():
    lines = open("/proc/self/status").read().split("\\n")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
Model.describe(sys.argv[2])
open("/proc/self/clear_refs", "w").write("5")  # the peak becomes what is resident now
before = resident()
try:
    if sys.argv[4] == "open":
        Model.load(sys.argv[3], threads=1)
    else:
        Model.describe(sys.argv[3])
except Error as error:
    print(str(error)[:200].replace("\\n", " "), file=sys.stderr)
print(peak() - before)
"""


def repeated(unit: bytes) -> bytes:
    return unit * (SIZE // len(unit))


def keys(value: bytes) -> bytes:
    """An object of short keys, each once."""
    parts, size = [], 0
    while size < SIZE:
        parts.append(b'"%x":%s' % (len(parts), value))
        size += len(parts[-1]) + 1
    return b"{" + b",".join(parts) + b"}"


def header(text: bytes, data: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text + bytes(data)


def tensors() -> bytes:
    parts, size = [], 0
    while size < SIZE:
        begin = len(parts)
        parts.append(b'"%x":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}' % (begin, begin, begin + 1))
        size += len(parts[-1]) + 1
    return header(b"{" + b",".join(parts) + b"}", len(parts))


JSON = {
    "arrays": b"[" + repeated(b"[],")[:-1] + b"]",
    "objects in objects": b"[" + repeated(b'{"a":{}},')[:-1] + b"]",
    "digits": b"[" + repeated(b"1,")[:-1] + b"]",
    "keys": keys(b"1"),
    "escapes": b"[" + repeated(b'"\\n",')[:-1] + b"]",
    "one string": b'"' + repeated(b"a") + b'"',
    "deep": b"[" + repeated(b'{"a":' * 120 + b"1" + b"}" * 120 + b",")[:-1] + b"]",
    "one number": repeated(b"1"),
    "one key": b"{" + repeated(b'"a":1,')[:-1] + b"}",
}


def tokenizer(**changes) -> bytes:
    root = json.loads((MODEL / "tokenizer.json").read_text())
    vocabulary = root["model"]["vocab"]
    vocabulary |= changes.pop("vocab", {})
    root["model"] |= {"merges": changes.pop("merges", [])}
    return json.dumps({**root, **changes}, ensure_ascii=False, separators=(",", ":")).encode()


def vocabulary() -> dict[str, int]:
    first = max(json.loads((MODEL / "tokenizer.json").read_text())["model"]["vocab"].values()) + 1
    return {f"_{number:x}": first + number for number in range(SIZE // 16)}


def added(content: str, number: int) -> dict:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), True)
    return {"id": number, "content": content, "special": False, **flags}


def gguf_string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf(pairs: list[bytes], infos: list[bytes] = [], data: int = 0) -> bytes:  # noqa: B006
    return b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join(pairs + infos) + bytes(data)


def gguf_tokens(kind: int, text: bytes) -> bytes:
    count = SIZE // (12 + len(text))
    pair = {"general.architecture": b"llada2", "tokenizer.ggml.model": b"gpt2", "tokenizer.ggml.pre": b"bailingmoe2"}
    pairs = [gguf_string(key.encode()) + struct.pack("<I", 8) + gguf_string(value) for key, value in pair.items()]
    numbers = {"vocab_size": 64, "embedding_length": 8, "block_count": 1, "leading_dense_block_count": 1}
    numbers |= {"feed_forward_length": 8, "context_length": 64, "attention.head_count": 1}
    pairs += [gguf_string(b"llada2." + key.encode()) + struct.pack("<II", 4, value) for key, value in numbers.items()]
    pairs += [gguf_string(b"llada2.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-6)]
    pairs += [gguf_string(b"tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, 0)]
    pairs += [
        gguf_string(b"tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, count) + struct.pack("<i", kind) * count
    ]
    return gguf(
        pairs + [gguf_string(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, count) + gguf_string(text) * count]
    )


CASES = {
    f"header of {name}": ("model.safetensors", lambda text=text: header(b'{"x":' + text + b"}"))
    for name, text in JSON.items()
}
CASES |= {f"tokenizer of {name}": ("tokenizer.json", lambda text=text: text) for name, text in JSON.items()}
CASES |= {
    "tensors": ("model.safetensors", tensors),
    "metadata": ("model.safetensors", lambda: header(b'{"__metadata__":' + keys(b'"b"') + b"}")),
    "config of keys": ("config.json", lambda: keys(b"1")),
    "tokens": ("tokenizer.json", lambda: tokenizer(vocab=vocabulary())),
    "merges": ("tokenizer.json", lambda: tokenizer(vocab={"zz": 9999}, merges=["z z"] * (SIZE // 6))),
    "added tokens": (
        "tokenizer.json",
        lambda: tokenizer(added_tokens=[added(f"<{number}>", 262 + number) for number in range(SIZE // 120)]),
    ),
    "one added token": ("tokenizer.json", lambda: tokenizer(added_tokens=[added("a" * SIZE, 262)])),
    "one id": ("tokenizer.json", lambda: tokenizer(vocab={"zz": (1 << 24) - 1})),
    "template": ("chat_template.jinja", lambda: repeated(b"{{a}}")),
    "index of one file": ("model.safetensors.index.json", lambda: b'{"weight_map":' + keys(b'"a.safetensors"') + b"}"),
    "control tokens": ("m.gguf", lambda: gguf_tokens(3, b"a")),
    "control characters": ("m.gguf", lambda: gguf_tokens(1, b"\1" * 40)),
    "pairs": ("m.gguf", lambda: gguf([gguf_string(b"%x" % n) + struct.pack("<IB", 0, 0) for n in range(SIZE // 18)])),
    "infos": (
        "m.gguf",
        lambda: gguf(
            [], [gguf_string(b"%x" % n) + struct.pack("<IQIQ", 1, 1, 0, 32 * n) for n in range(SIZE // 72)], SIZE // 2
        ),
    ),
}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the kernel does not reset a peak")
@pytest.mark.parametrize("case", CASES)
def test_what_a_small_file_takes(case, tmp_path):
    name, make = CASES[case]
    data = make()
    path = tmp_path / name if name.endswith(".gguf") else tmp_path
    for other in MODEL.iterdir():
        if (
            other.name != name
            and not name.endswith(".gguf")
            and not (other.suffix == ".safetensors" and "index" in name)
        ):
            (tmp_path / other.name).symlink_to(other)
    (tmp_path / name).write_bytes(data)
    for way in ("open", "describe"):
        run = subprocess.run(
            [sys.executable, "-c", CHILD, str(ROOT / "bindings" / "python"), str(MODEL), str(path), way],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert int(run.stdout) <= MULTIPLE * len(data) + SPARE, (way, int(run.stdout) / len(data), run.stderr)
