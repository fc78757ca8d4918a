"""What `Model.describe` and `python -m llada.inspect` say, against opened models, arithmetic and broken folders."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, ROOT, load, safetensors, write_checkpoint
from llada import inspect
from test_fp8 import folders  # noqa: F401

TINY = ROOT / "examples" / "models" / "tiny-2.1"
DTYPES = ["auto", "f32", "bf16", "int8", "int4"]

MINI = {
    "model_type": "llada2_moe",
    "vocab_size": 157184,
    "hidden_size": 2048,
    "num_hidden_layers": 20,
    "first_k_dense_replace": 1,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "num_shared_experts": 1,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "moe_router_enable_expert_bias": True,
    "rms_norm_eps": 1e-06,
    "rope_theta": 600000,
    "partial_rotary_factor": 0.5,
    "rotary_dim": 64,
    "max_position_embeddings": 32768,
    "use_qk_norm": True,
}
FLASH = {
    **MINI,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 9216,
    "moe_intermediate_size": 1024,
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The tensors of a model of this config, by docs/spec/model.md."""
    hidden, head = config["hidden_size"], config["head_dim"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    found = {"model.word_embeddings.weight": (config["vocab_size"], hidden)}

    def feed_forward(prefix: str, width: int) -> None:
        for name in ("gate_proj", "up_proj"):
            found[f"{prefix}.{name}.weight"] = (width, hidden)
        found[f"{prefix}.down_proj.weight"] = (hidden, width)

    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        found[f"{prefix}.input_layernorm.weight"] = found[f"{prefix}.post_attention_layernorm.weight"] = (hidden,)
        found[f"{prefix}.attention.query_key_value.weight"] = ((heads + 2 * kv_heads) * head, hidden)
        found[f"{prefix}.attention.query_layernorm.weight"] = (head,)
        found[f"{prefix}.attention.key_layernorm.weight"] = (head,)
        found[f"{prefix}.attention.dense.weight"] = (hidden, heads * head)
        if layer < config["first_k_dense_replace"]:
            feed_forward(f"{prefix}.mlp", config["intermediate_size"])
            continue
        found[f"{prefix}.mlp.gate.weight"] = (config["num_experts"], hidden)
        found[f"{prefix}.mlp.gate.expert_bias"] = (config["num_experts"],)
        for expert in range(config["num_experts"]):
            feed_forward(f"{prefix}.mlp.experts.{expert}", config["moe_intermediate_size"])
        feed_forward(f"{prefix}.mlp.shared_experts", config["moe_intermediate_size"] * config["num_shared_experts"])
    return {**found, "model.norm.weight": (hidden,), "lm_head.weight": (config["vocab_size"], hidden)}


def write_hollow(folder, config: dict, shards: int = 3) -> None:
    """A checkpoint of a published size in bf16: true headers, and files that are holes behind them."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tensors, weight_map = list(shapes(config).items()), {}
    for number in range(shards):
        name, header, end = f"model-{number + 1:05}-of-{shards:05}.safetensors", {}, 0
        for tensor, shape in tensors[number::shards]:
            size = 2 * int(np.prod(shape))
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
            weight_map[tensor] = name
            end += size
        text = json.dumps(header).encode()
        with open(folder / name, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize(
    ("config", "tensors", "weights", "steps"),
    # docs/performance.md: in GB, by llada-bench. A step is without keys and values here.
    [
        (MINI, 14813, [32.53, 17.10, 9.93], [20.8, 10.8, 6.2]),
        (FLASH, 24161, [205.84, 106.82, 60.02], [132.3, 68.3, 38.4]),
    ],
    ids=["mini", "flash"],
)
def test_a_published_size_is_told_by_its_headers(tmp_path, config, tensors, weights, steps):
    write_hollow(tmp_path / "hollow", config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = llada.Model.describe(tmp_path / "hollow")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB: headers, not weights
    assert found["loads"] and found["problems"] == [] and found["tokenizer"] is None
    size = sum(int(np.prod(shape)) for shape in shapes(config).values())
    assert found["parameters"] == size
    assert found["stored"] == [{"type": "BF16", "tensors": tensors, "bytes": 2 * size}]
    memory = {each["dtype"]: each for each in found["memory"]}
    assert list(memory) == DTYPES
    for dtype, expected, step in zip(["bf16", "int8", "int4"], weights, steps):
        assert memory[dtype]["weight_bytes"] / 1e9 == pytest.approx(expected, abs=0.02)
        assert memory[dtype]["step_bytes"] / 1e9 == pytest.approx(step, rel=0.01)
    layers, heads, head = (config[key] for key in ("num_hidden_layers", "num_key_value_heads", "head_dim"))
    assert [memory[dtype]["kv_bytes_per_token"] for dtype in ("f32", "int4")] == [
        2 * layers * heads * head * width for width in (4, 2)
    ]
    assert found["expected_experts"] == pytest.approx(256 * (1 - (1 - 8 / 256) ** 32))


def same_as_opened(folder, dtypes=DTYPES, **options):
    found = llada.Model.describe(folder)
    assert found["loads"], found["problems"]
    memory = {each["dtype"]: each for each in found["memory"]}
    assert list(memory) == dtypes
    for dtype in dtypes:
        with llada.Model.load(folder, dtype=dtype, threads=1, **options) as model:
            told = memory[dtype]
            assert told["weight_bytes"] == model.info.weight_bytes, dtype
            assert told["kv_dtype"] == model.info.kv_dtype
            assert found["parameters"] == model.info.num_parameters
            assert found["mask_token"] is None or found["mask_token"]["id"] == model.mask_token_id
            assert tuple(each["id"] for each in found["eos_tokens"]) == model.eos_token_ids
            assert all(
                found["config"][name] == value for name, value in vars(model.info).items() if name in found["config"]
            )
    return found


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_memory_is_what_an_opened_model_holds(name):
    found = same_as_opened(CONFORMANCE / name)
    config = json.loads((CONFORMANCE / name / "config.json").read_text())
    # A step in f32, by hand: what it multiplies with, and of the experts as many as are expected.
    count, per_token = config["num_experts"], config["num_experts_per_tok"]
    share = 1 - (1 - per_token / count) ** 32
    read = 0.0
    for tensor, array in safetensors(CONFORMANCE / name / "model.safetensors").items():
        if tensor != "model.word_embeddings.weight" and array.dtype.kind != "i":
            read += array.nbytes * (share if ".experts." in tensor else 1)
    assert found["memory"][1]["step_bytes"] == pytest.approx(read, abs=1)


def test_memory_of_other_kinds(tmp_path, folders):  # noqa: F811
    found = same_as_opened(TINY)
    assert found["family"] == {"name": "2.1", "evidence": 'the name "tiny-2.1"'}
    assert found["chat"]["known_layout"] is True
    assert found["tokenizer"]["added_tokens"] == found["tokenizer"]["control_tokens"] == 6
    same_as_opened(folders / "fp8")
    tensors, stacks = {}, {}
    for name, array in safetensors(CONFORMANCE / "gqa_group" / "model.safetensors").items():
        prefix, experts, rest = name.partition(".experts.")
        if experts:
            stacks.setdefault(f"{prefix}.experts.{rest.split('.')[1]}", []).append(array)
        else:
            tensors[name] = ("F32", array)
    tensors.update({name: ("F32", np.stack(arrays)) for name, arrays in stacks.items()})
    config = json.loads((CONFORMANCE / "gqa_group" / "config.json").read_text())
    write_checkpoint(tmp_path / "stacked", config, tensors)
    same_as_opened(tmp_path / "stacked")
    with load("gqa_group", dtype="int4") as model:
        model.save(tmp_path / "packed")
    found = same_as_opened(tmp_path / "packed", ["auto"])
    assert found["container"] == "packed"


# ---- Broken folders


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(TINY, tmp_path / "copy")
    return tmp_path / "copy"


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace(name, text):
    return lambda folder: (folder / name).write_bytes(text)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3113728\n"

DAMAGE = {
    "no config": remove("config.json"),
    "config is cut off": replace("config.json", b'{"model_type": "llada2_moe", '),
    "config of another model": replace("config.json", b'{"model_type": "llama"}'),
    "no weights": remove("model.safetensors"),
    "weights are a pointer": replace("model.safetensors", POINTER),
    "weights are empty": replace("model.safetensors", b""),
    "weights are noise": replace("model.safetensors", bytes(range(256)) * 9),
    "tokenizer is a pointer": replace("tokenizer.json", POINTER),
    "tokenizer is cut off": replace("tokenizer.json", b'{"version": "1.0", "model": {'),
    "tokenizer config is broken": replace("tokenizer_config.json", b"{"),
    "an index of nothing": lambda folder: [
        remove("model.safetensors")(folder),
        replace("model.safetensors.index.json", b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')(folder),
    ],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_loading_would_refuse_is_a_problem(copy, damage):
    DAMAGE[damage](copy)
    with pytest.raises(llada.Error) as refused:
        llada.Model.load(copy)
    found = llada.Model.describe(copy)
    assert not found["loads"]
    assert {"status": refused.value.status, "message": refused.value.message} in found["problems"]
    assert len({problem["message"] for problem in found["problems"]}) == len(found["problems"])


def test_one_problem_hides_no_other(copy):
    for damage in ("config is cut off", "tokenizer is cut off", "weights are noise"):
        DAMAGE[damage](copy)
    problems = llada.Model.describe(copy)["problems"]
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert sum(name in problem["message"] for problem in problems) == 1, problems


def test_what_is_there_is_told_all_the_same(copy):
    remove("config.json")(copy)
    found = llada.Model.describe(copy)
    assert found["config"] is None and found["parameters"] is None and found["memory"] == []
    assert found["container"] == "safetensors" and sum(kind["tensors"] for kind in found["stored"]) == 117
    assert found["tokenizer"]["vocabulary_size"] == 988 and found["chat"]["known_layout"] is True
    (copy / "tokenizer.json").unlink()
    shutil.copyfile(TINY / "config.json", copy / "config.json")
    (copy / "model.safetensors").unlink()
    found = llada.Model.describe(copy)
    assert found["config"]["num_experts"] == 8 and found["mask_token"]["id"] == 984 and found["tokenizer"] is None


def test_any_path(tmp_path):
    (tmp_path / "file").write_text("no checkpoint")
    (tmp_path / "empty").mkdir()
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    for path in (
        tmp_path / "none",
        tmp_path / "file",
        tmp_path / "empty",
        tmp_path / os.fsdecode(b"caf\xe9"),
        "/dev/null",
        "",
    ):
        found = llada.Model.describe(path)
        assert not found["loads"] and found["problems"]
    with pytest.raises(TypeError):
        llada.Model.describe(7)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            lambda folder: (folder / "README.md").write_text("---\nx: y\n---\n# LLaDA2.0-mini-CAP\nAbout LLaDA2.1"),
            "2.0-CAP",
        ),
        (lambda folder: (folder / "README.md").write_text("# Welcome\n\n## LLaDA2.1-flash\n"), "2.1"),
        (lambda folder: (folder / "README.md").write_text("Nothing, and no title"), None),
        (
            lambda folder: (folder / "modeling_llada2_moe.py").write_text("def generate(editing_threshold=0.9): ..."),
            "2.1",
        ),
        (lambda folder: None, None),
    ],
)
def test_the_family_is_a_guess_with_a_reason(copy, change, name):
    change(copy)
    family = llada.Model.describe(copy)["family"]
    assert family["name"] == name and family["evidence"]


# ---- The command


def command(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
    done = subprocess.run(
        [sys.executable, "-m", "llada.inspect", *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.stderr == "", done.stderr
    return done


def test_the_command(copy):
    done = command(TINY)
    assert done.returncode == 0
    for part in (llada.build_info()[6:], "loads       yes", "LLaDA2.1", "1,556,888", "984", "int4", "GB/s", "1.5 MB"):
        assert part in done.stdout, part
    replace("tokenizer.json", b"{")(copy)
    done = command(copy, "--bandwidth", "0")
    assert done.returncode == 1 and "loads       no" in done.stdout and "GB/s" not in done.stdout
    assert llada.Model.describe(copy)["problems"][0]["message"] in done.stdout
    done = command(copy, "--json", "--bandwidth", "100")
    told = json.loads(done.stdout)
    assert done.returncode == 1 and told.pop("machine")["bandwidth"] == 1e11 and told == llada.Model.describe(copy)


def test_the_report_says_how_long_a_step_takes_at_least(tmp_path):
    write_hollow(tmp_path / "hollow", MINI)
    found = llada.Model.describe(tmp_path / "hollow")
    here = inspect.Machine("llada 1.2.3 (kernels: none)", "Python", "a processor", 8, 64 << 30, 12 << 30, 50e9)
    lines = {line.split()[0]: line for line in inspect.report(found, here).splitlines() if line}
    step = found["memory"][4]["step_bytes"] / 50e9 * 1000
    assert lines["int4"].endswith(f"{step:,.1f} ms") and 110 < step < 130
    assert "more than is available" in lines["int8"] and "more than is available" not in lines["int4"]
    assert lines["experts"].endswith("256 a layer, 8 for a token and 1 for all")


def test_bandwidth_is_measured_in_a_moment():
    assert 1e8 < inspect.read_bandwidth(2, 1 << 30) < 1e13
