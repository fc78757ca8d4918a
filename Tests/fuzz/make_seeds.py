"""Makes the inputs that fuzzing begins with: make_seeds.py FOLDER writes FOLDER/TARGET/NAME.

Each is a good one of its kind, in the layout that the target takes (the comment above it): the corpus in the repository
grew from these. Needs what the Python tests need, and the library for snapshots.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tests" / "python")]

import gguf  # noqa: E402
from make_base import CONFIG, FOLDER, LING, header, shapes, tokenizer  # noqa: E402

import gguf_files  # noqa: E402
import llada  # noqa: E402

OUT = Path(sys.argv[1])
RAW, FOLDER_OF_GGUF = 0x40, 0x40
DESCRIBE = 0x80


def seed(target: str, name: str, content: bytes) -> None:
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def weights(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None) -> bytes:
    text, size = header(tensors, metadata)
    return struct.pack("<H", -(-size // 64)) + text.encode() + b"\0"


def exact(content: bytes, size: int) -> bytes:
    """The same with filling of exactly so many bytes: the rest is data."""
    whole, rest = divmod(size, 64)
    return struct.pack("<H", whole) + content[2:] + bytes(rest)


def checkpoints() -> None:
    for stacked in (False, True):
        for kind in ("F32", "BF16", "F16"):
            tensors = {name: (kind, shape) for name, shape in shapes(CONFIG, stacked).items()}
            size = header(tensors)[1]
            name = f"{kind}{'-stacked' * stacked}"
            for dtype in range(5) if kind == "BF16" else (0,):
                bits = dtype | (8 if stacked else 0) | DESCRIBE
                content = exact(weights(tensors, {"format": "pt"} if stacked else None), size)
                seed("safetensors", f"{name}-{dtype}", bytes([bits]) + content)
    prefixed = {"module." + name: ("F32", shape) for name, shape in shapes(CONFIG).items()}
    prefixed["model.layers.2.eh_proj.weight"] = ("I64", [3])
    seed("safetensors", "prefixed", b"\x80" + exact(weights(prefixed), header(prefixed)[1]))
    text, size = header({"model.norm.weight": ("F32", [16])})
    seed("safetensors", "raw", bytes([RAW]) + struct.pack("<Q", len(text)) + text.encode() + bytes(size))
    for name in ("lfs", "torch", "html"):
        content = {
            "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "torch": b"PK\x03\x04",
            "html": b"<!DOCTYPE html>",
        }[name]
        seed("safetensors", name, bytes([RAW]) + content)


def configs() -> None:
    generation = {"eos_token_id": [38, 37], "mask_token_id": 39}
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32, "beta_slow": 1}
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "yarn": {"rope_scaling": yarn},
        "parameters": {"rope_parameters": {**yarn, "rope_type": "yarn", "rope_theta": 1e5, "mscale": 1.0}},
        "block": {"expert_capacity": 3, "block_size": 4},
        "lev": {"delete_token_id": 36, "split_token_id": 35},
        "tied": {"tie_word_embeddings": True},
        "ends": {"eos_token_id": [38, 39], "pad_token_id": 38},
        "dtype": {"dtype": "bfloat16", "torch_dtype": None, "rms_norm_eps": None},
        "architecture": {"model_type": None, "architectures": ["LLaDA2MoeModelLM"]},
    }
    for name, change in changes.items():
        seed("config", name, bytes([DESCRIBE]) + compact({**CONFIG, **change}) + b"\0" + compact(generation))
        seed("config", f"{name}-alone", bytes([len(name) % 5]) + compact({**CONFIG, **change}))
    for path in sorted(ROOT.glob("Tests/Fixtures/conformance/*/config.json")):
        seed("config", path.parent.name, b"\x80" + compact(json.loads(path.read_text())))


def float8() -> None:
    tables = ("embeddings", "norm", "layernorm", "lm_head", "gate.weight", "expert_bias")
    for name, method in {
        "block": {"quant_method": "fp8", "weight_block_size": [8, 8], "fmt": "e4m3"},
        "odd": {"quant_method": "fp8", "weight_block_size": [6, 5]},
        "channel": {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}},
        },
        "tensor": {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}},
        },
        "compressed": {
            "quant_method": "compressed-tensors",
            "config_groups": {
                "g": {
                    "weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [8, 16]},
                }
            },
        },
    }.items():
        tensors: dict[str, tuple[str, list[int]]] = {}
        for tensor, shape in shapes(CONFIG).items():
            if any(table in tensor for table in tables):
                tensors[tensor] = ("BF16", shape)
                continue
            rows, columns = {"block": (8, 8), "odd": (6, 5), "compressed": (8, 16)}.get(name, (1, 1 << 20))
            scales = [1] if name == "tensor" else [-(-shape[0] // rows), -(-shape[1] // columns)]
            tensors[tensor] = ("F8_E4M3", shape)
            kind = "F8_E8M0" if name == "odd" else "F32" if name == "block" else "BF16"
            tensors[f"{tensor}_scale{'' if name == 'channel' else '_inv'}"] = (kind, scales)
        size = header(tensors)[1]
        config = compact({**CONFIG, "quantization_config": method})
        for dtype in (0, 3):
            content = exact(weights(tensors), size)
            seed("fp8", f"{name}-{dtype}", bytes([dtype | DESCRIBE]) + config + b"\0" + content)


def indices() -> None:
    parts = [json.loads((FOLDER / f"header_{letter}.json").read_text()) for letter in "ab"]
    places = {name: f"{letter}.safetensors" for letter, part in zip("ab", parts, strict=True) for name in part}
    for name, changed in {
        "good": places,
        "missing": {**places, "model.layers.7.x": "c.safetensors"},
        "wrong": {**places, "model.norm.weight": "b.safetensors", "lm_head.weight": "b.safetensors"},
        "single": dict.fromkeys(places, "model.safetensors"),
        "less": dict(list(places.items())[:-2]),
    }.items():
        index = {"metadata": {"total_size": 14864.0 if name == "less" else 14864}, "weight_map": changed}
        for files in (0, 4):
            seed("shard_index", f"{name}-{files}", bytes([DESCRIBE, files]) + compact(index))
    seed("shard_index", "none", bytes([0, 7]) + compact({"weight_map": places}))
    seed("shard_index", "one", bytes([0, 3]) + compact({"weight_map": places}))


def tokenizers() -> None:
    plain = tokenizer()

    def add(name: str, text: str, change: dict[str, Any]) -> None:
        content = text.encode()
        seed("tokenizer", name, b"\0" + struct.pack("<H", len(content)) + content + compact({**plain, **change}))

    def split(pattern: str, key: str = "Regex") -> dict[str, Any]:
        return {"type": "Split", "pattern": {key: pattern}, "behavior": "Isolated", "invert": False}

    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    mixed = "a b ab abc \u00e4 a\u0308\u0323 \uac00\u1100\u1161 12345 it's\n\n  x <|mask|><role>\U0001f600\u0301"
    add("ling", mixed, {})
    add("gpt2", mixed, {"pre_tokenizer": level, "normalizer": None})
    sys.path.insert(0, str(ROOT / "Tests" / "Fixtures" / "text"))
    patterns = {
        "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|\s+",
        "odd": r"(?:a|b){2,3}?|[\x{61}-c\d\W]++|\p{Han}|.*?(?=x)|(?!y)\S|^z$|[^\n]",
    }
    for name, pattern in patterns.items():
        last = {**level, "use_regex": False}
        add(name, mixed, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(pattern), last]}})
    steps = [split(LING), split(" ", "String"), split("b+"), {**level, "use_regex": False}]
    add("chain", mixed, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})
    odd = [
        {
            "id": 260 + i,
            "content": content,
            "single_word": i & 1,
            "lstrip": i & 2,
            "rstrip": i & 4,
            "special": i in (3, 6),
        }
        for i, content in enumerate(["xx", " y", "zz", "[CLS]", "\u1e69", "abcab", "<|mask|>"])
    ]
    odd = [{k: bool(v) if k in ("single_word", "lstrip", "rstrip") else v for k, v in t.items()} for t in odd]
    add(
        "added",
        "axx xx y  zz  s\u0307\u0323 abcab[CLS] x<|mask|>\u00e9xx zzz \U0001f600xx xx",
        {"added_tokens": [{**t, "normalized": True} for t in odd]},
    )
    add(
        "plainly",
        "axx xx y  zz  s\u0307\u0323 abcab[CLS] x<|mask|>\u00e9xx zzz \U0001f600xx xx",
        {"added_tokens": [{**t, "normalized": False} for t in odd]},
    )
    model = {**plain["model"], "ignore_merges": True, "merges": [" ".join(m) for m in plain["model"]["merges"]]}
    processors = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing"}]}
    decoders = {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Fuse"}]}
    add("early", mixed, {"model": model, "post_processor": processors, "decoder": decoders, "normalizer": None})
    normalizers = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    add("sequence", "a\u0308\u1e9b\u0323\u0344 \u1100\u1161\u11a8 \uf900", {"normalizer": normalizers})
    seed("tokenizer", "broken", b"\0\x05\0a\xc3 \xff\xf0" + compact(plain))


def chats() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"x": [1.5, None, True, 1e300, -0.0]}}}]
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    conversations = {
        "plain": [{"role": "user", "content": "What is 17 plus 25?"}],
        "all": [
            {"role": "system", "content": "Be <|role_end|> brief."},
            {"role": "user", "content": [{"type": "text", "text": "a\u00e4"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "<think>hm</think>ok", "tool_calls": [call]},
            {"role": "tool", "content": "42"},
            {"role": "tool", "content": "43"},
            {"role": "assistant", "content": None, "reasoning_content": "so", "tool_calls": [call["function"]]},
        ],
        "text": [
            {"role": "user", "content": "<tool_response>x</tool_response>"},
            {"role": "assistant", "content": "y", "tool_calls": [{"name": "g", "arguments": '{"a": [1, "\\u00e4"]}'}]},
        ],
    }
    own = (ROOT / "bindings/python/llada/chat_template.jinja").read_bytes()
    for name, messages in conversations.items():
        seed("chat", name, b"\x04" + b"\0" + compact(messages))
        seed("chat", f"{name}-tools", b"\xc3" + compact(tools) + b"\0" + compact(messages))
    config = {
        "chat_template": [{"name": "default", "template": own.decode()}, {"name": "tool_use", "template": "{{ x }}"}],
        "eos_token": {"content": "<|endoftext|>"},
        "pad_token": "x",
    }
    seed("chat_template", "own", b"\x0c" + own)
    seed("chat_template", "config", b"\x2c" + compact(config))
    seed("chat_template", "jinja", b"\x44{#- a -#}{%- set x = 'a' ~ \"b\" -%}{% raw %}{{ x }}{% endraw %}{{- y }}")


def gguf_models() -> None:
    small = {**CONFIG, "vocab_size": 262, "hidden_size": 32, "head_dim": 16, "intermediate_size": 32}
    small |= {"moe_intermediate_size": 32, "eos_token_id": 260, "mask_token_id": 261}
    kinds = gguf.GGMLQuantizationType
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, options in (
            ("F32", kinds.F32, {}),
            ("BF16", kinds.BF16, {"tied": True}),
            ("F16", kinds.F16, {"apart": True}),
            ("Q8_0", kinds.Q8_0, {}),
            ("Q4_0", kinds.Q4_0, {"apart": True}),
            ("Q4_1", kinds.Q4_1, {}),
            ("Q5_0", kinds.Q5_0, {}),
            ("Q5_1", kinds.Q5_1, {"tied": True}),
        ):
            path = Path(folder) / f"{name}.gguf"
            vocabulary = {**tokenizer(), "added_tokens": [t for t in tokenizer()["added_tokens"] if t["id"] < 262]}

            def extra(writer: gguf.GGUFWriter, name: str = name, vocabulary: Any = vocabulary) -> None:
                if name in ("F32", "Q4_0", "Q8_0"):
                    gguf_files.write_tokenizer(writer, vocabulary, 262, "{{ messages }}")
                writer.add_array("llada2.odd", [1, 2])
                writer.add_uint64("llada2.large", 1 << 63)
                writer.add_bool("llada2.flag", True)
                if name == "F16":
                    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
                    writer.add_rope_scaling_factor(4.0)
                    writer.add_rope_scaling_orig_ctx_len(128)
                    writer.add_rope_scaling_yarn_beta_fast(32.0)
                    writer.add_rope_scaling_yarn_beta_slow(1.0)
                    writer.add_rope_scaling_attn_factors(1.5)
                if name == "Q4_1":
                    writer.add_array("llada2.nested", [[1, 2], [3]])
                    writer.add_array("llada2.texts", ["a", "b"])
                    writer.add_float64("llada2.double", 0.5)
                    writer.add_int8("llada2.small", -1)
                    writer.add_uint16("llada2.short", 7)

            gguf_files.write_gguf(path, small, lambda name, kind=kind: kind, extra=extra, **options)
            content = path.read_bytes()
            start = gguf.GGUFReader(path).data_offset
            units = -(-(len(content) - start) // 64)
            for bits in (DESCRIBE, 3, FOLDER_OF_GGUF | 8):
                seed("gguf", f"{name}-{bits}", bytes([bits]) + struct.pack("<H", units) + content[:start])
        path = Path(folder) / "m.gguf"
        gguf_files.write_gguf(path, small, lambda name: kinds.Q8_0, split_max_tensors=20)
        parts = sorted(Path(folder).glob("m-*.gguf"))
        starts = [gguf.GGUFReader(part).data_offset for part in parts]
        fills = [-(-(part.stat().st_size - start) // 64) for part, start in zip(parts, starts, strict=True)]
        headers = [part.read_bytes()[:start] for part, start in zip(parts, starts, strict=True)]
        assert len(parts) == 2
        for bits in (0x20 | DESCRIBE, 0x60):
            numbers = struct.pack("<BHHH", bits, fills[0], starts[0], fills[1])
            seed("gguf", f"split-{bits}", numbers + headers[0] + headers[1])
        large = {**small, "hidden_size": 256, "vocab_size": 64, "intermediate_size": 256, "head_dim": 128}
        large |= {"moe_intermediate_size": 256, "num_experts": 2, "n_group": 1, "eos_token_id": 62, "mask_token_id": 63}
        for kind in (kinds.Q4_K, kinds.Q5_K, kinds.Q6_K):
            path = Path(folder) / f"{kind.name}.gguf"
            gguf_files.write_gguf(path, large, lambda name, kind=kind: kind)
            start = gguf.GGUFReader(path).data_offset
            content = path.read_bytes()
            units = -(-(len(content) - start) // 64)
            seed("gguf", kind.name, bytes([DESCRIBE]) + struct.pack("<H", units) + content[:start])


def write_base(folder: Path, config: dict[str, Any]) -> Path:
    tensors = {name: ("F32", shape) for name, shape in shapes(config).items()}
    text, size = header(tensors)
    numbers = np.random.default_rng(1).normal(0, 0.1, size // 4).astype(np.float32)
    folder.mkdir()
    (folder / "config.json").write_bytes(compact(config))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode() + numbers.tobytes())
    return folder


def saved() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write_base(Path(name) / "model", CONFIG)
        for dtype, number in (("bf16", 2), ("int8", 3), ("int4", 4)):
            packed = Path(name) / dtype
            llada.Model.load(folder, dtype=dtype, threads=1).save(packed)
            content = (packed / "model.safetensors").read_bytes()
            length = int.from_bytes(content[:8], "little")
            text = content[8 : 8 + length].rstrip()
            units, rest = divmod(len(content) - 8 - length, 64)
            if number == 3:
                for index, (old, new) in enumerate(
                    (
                        ('"version":"1"', '"version":"2"'),
                        ('"dtype":"int8"', '"dtype":"int3"'),
                        ('"dtype":"int8"', '"dtype":"int8","other":"x"'),
                        ('"parameters":"5684"', '"parameters":"many"'),
                        ('"parameters":"5684"', '"parameters":"5685"'),
                        ('"parameters"', '"formats":"lm_head.weight","parameters"'),
                        ('"parameters"', '"formats":"lm_head.weight=what","parameters"'),
                        ('"parameters"', '"formats":"lm_head.weight=int8","parameters"'),
                        ('"parameters"', '"formats":"model.word_embeddings.weight=Q4_0","parameters"'),
                    )
                ):
                    assert old.encode() in text
                    wrong = text.replace(old.encode(), new.encode()) + b"\0" + bytes(rest)
                    seed("packed", f"wrong-{index}", b"\0" + struct.pack("<H", units) + wrong)
            for bits in (DESCRIBE, 8 | number, 0x20 | number):
                seed("packed", f"{dtype}-{bits}", bytes([bits]) + struct.pack("<H", units) + text + b"\0" + bytes(rest))
        model = llada.Model.load(folder, threads=1)
        generator = random.Random(1)
        for index, policy in enumerate(
            (
                llada.Policy.low_confidence(),
                llada.Policy.quality(),
                llada.Policy.speedy(temperature=0.7, seed=3),
                llada.Policy.quality(mbe_window=2, mbe_rounds=2, penalty_lambda=0.1),
            )
        ):
            with model.decoder([1, 2, 3], block_length=4, gen_length=9, policy=policy) as decoder:
                decoder.disable_expert(1, 1)
                decoder.ban(4, 5)
                decoder.ban(6, 7)
                decoder.lock(9)
                decoder.forward()
                decoder.end_block(False)
                decoder.set(8, 3)
                save_decoder(f"{index}-changed", decoder.to_bytes())
            cache = model.prefix_cache(1 << 20)
            prompt = [generator.randrange(38) for _ in range(9)]
            with model.decoder(
                list(prompt), block_length=4, gen_length=11, policy=policy, prefix_cache=cache
            ) as decoder:
                for step in range(9):
                    if decoder.finished:
                        break
                    if step == 1:
                        decoder.ban(5)
                        decoder.lock(12)
                    decoder.forward()
                    if step in (0, 3):
                        save_decoder(f"{index}-{step}-forwarded", decoder.to_bytes(pages=step == 3))
                    decoder.propose()
                    if step in (0, 2):
                        save_decoder(f"{index}-{step}-proposed", decoder.to_bytes(pages=step == 2))
                    decoder.apply()
                    if step in (1, 4, 8):
                        save_decoder(f"{index}-{step}", decoder.to_bytes(pages=step == 1))
            cache.pin(prompt, 4)
            path = Path(name) / "cache"
            cache.save(path)
            for bits in (0, 1, 0x1A):
                seed("prefix_cache", f"{index}-{bits}", bytes([bits]) + body_of(path.read_bytes()))


def traces() -> None:
    with tempfile.TemporaryDirectory() as name:
        text_config = json.loads((FOLDER / "text_config.json").read_text())
        folder = write_base(Path(name) / "model", text_config)
        (folder / "tokenizer.json").write_bytes((FOLDER / "tokenizer.json").read_bytes())
        model = llada.Model.load(folder, threads=1)
        for index, policy in enumerate((llada.Policy.low_confidence(), llada.Policy.quality(mbe_window=2))):
            path = Path(name) / "trace.jsonl"
            prompt = [65, 66, 5]
            decoder = model.decoder(prompt, block_length=4, gen_length=9, policy=policy)
            with decoder.record(path):
                decoder.forward()
                decoder.ban(7)
                decoder.propose()
                decoder.apply()
                if index:
                    decoder.set(4, 70)
                    decoder.lock(5)
                    decoder.mask(6)
                    decoder.truncate(0)
                decoder.run()
            seed("trace", f"{index}", path.read_bytes())
            seed("trace", f"{index}-short", b"".join(path.read_bytes().splitlines(keepends=True)[:3]))


def body_of(snapshot: bytes) -> bytes:
    body = int.from_bytes(snapshot[40:48], "little")
    pages = len(snapshot) - 56 - body
    return struct.pack("<H", pages // 16) + snapshot[48 : 48 + body]


def save_decoder(name: str, snapshot: bytes) -> None:
    seed("snapshot", name, b"\0" + body_of(snapshot))
    seed("snapshot", f"{name}-cached", b"\x20" + body_of(snapshot))
    if len(snapshot) < 2000:
        seed("snapshot", f"{name}-raw", b"\x80\0\0" + snapshot[:-8])


def programs() -> None:
    generator = random.Random(2)
    for index in range(40):
        calls = generator.randbytes(8 + 10 * index)
        seed("calls", f"random-{index}", b"\0\x02" + calls if index % 2 else calls)
        seed("text_stream", f"random-{index}", bytes([index % 16]) + calls)


for make in (checkpoints, configs, float8, indices, tokenizers, chats, gguf_models, saved, traces, programs):
    make()
