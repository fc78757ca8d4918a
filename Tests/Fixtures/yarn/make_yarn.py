"""Makes Tests/Fixtures/yarn: YaRN's numbers as Hugging Face transformers computes them, and a forward with them.

    pip install transformers torch safetensors          # made with transformers 5.23.0 and torch 2.15.0
    python3 Tests/Fixtures/yarn/make_yarn.py

parameters.json   configurations, each with its inverse frequencies and what cosines and sines are multiplied with
NAME/change.json  what is changed in conformance/NAME/config.json
NAME/forward.safetensors  for blocks of B, B{B}.ids [T] and B{B}.logits [T, V] of that model: the PyTorch model of
                  examples/training, in f32, turned by transformers' frequencies. As it was, it is first held against
                  conformance/NAME.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

ROOT = Path(__file__).parents[3]
OUT, CONFORMANCE = ROOT / "Tests/Fixtures/yarn", ROOT / "Tests/Fixtures/conformance"
sys.path.insert(0, str(ROOT / "examples/training"))
import model as reference  # noqa: E402

MINI = {"head_dim": 128, "partial_rotary_factor": 0.5, "rope_theta": 600000.0, "max_position_embeddings": 65536}
LARGE = {**MINI, "rope_theta": 3000000.0, "max_position_embeddings": 131072}
SMALL = {"head_dim": 16, "partial_rotary_factor": 0.5, "rope_theta": 10000.0, "max_position_embeddings": 4096}
CASES = [  # (config, what its rope_scaling says beside the type)
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768}),
    (MINI, {"factor": 4, "original_max_position_embeddings": 16384}),
    (MINI, {"factor": 2.0}),
    (MINI, {"factor": None, "original_max_position_embeddings": 8192}),
    (MINI, {"factor": 1.0, "original_max_position_embeddings": 65536}),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "attention_factor": 1.25}),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "mscale": 1.0, "mscale_all_dim": 0.707}),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "mscale": 0.707}),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "mscale": 0.707, "mscale_all_dim": 0}),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "truncate": False}),
    (
        MINI,
        {
            "factor": 3.7,
            "original_max_position_embeddings": 17000,
            "beta_fast": 48,
            "beta_slow": 2.5,
            "truncate": False,
        },
    ),
    (MINI, {"factor": 2.0, "original_max_position_embeddings": 32768, "beta_fast": 4, "beta_slow": 4}),
    (LARGE, {"factor": 8.0, "original_max_position_embeddings": 16384}),
    ({**LARGE, "partial_rotary_factor": 1.0}, {"factor": 40, "original_max_position_embeddings": 4096}),
    (SMALL, {"factor": 2.0, "original_max_position_embeddings": 2048}),
    (SMALL, {"factor": 4.0, "original_max_position_embeddings": 16}),  # so short that nothing turns often
    (SMALL, {"factor": 4.0, "original_max_position_embeddings": 4}),  # bounds below the first dimension
    ({**SMALL, "rope_theta": 2.0}, {"factor": 4.0, "original_max_position_embeddings": 4096}),  # and above the last
]
FORWARDS = {  # most of the canvas lies beyond the original context
    "gqa_group": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    "mha_nogroup": {
        "type": "yarn",
        "factor": 2.0,
        "original_max_position_embeddings": 128,
        "attention_factor": 1.5,
        "truncate": False,
    },
}
LENGTH, BLOCKS = 48, (8, 32)


def yarn(config, scaling):
    """Inverse frequencies [rotary / 2] f32 and the factor of cosines and sines."""
    names = ("head_dim", "rope_theta", "partial_rotary_factor", "max_position_embeddings")
    given = {name: config[name] for name in names}
    made = LlamaConfig(hidden_size=64, num_attention_heads=4, rope_scaling={"rope_type": "yarn", **scaling}, **given)
    return ROPE_INIT_FUNCTIONS["yarn"](made, "cpu")


def forwards(folder, scaling):
    assert reference.check(folder) < 1e-4
    net = reference.load_hf(folder)
    net.inv_freq, scale = yarn(net.config, scaling)
    for layer in net.layers:
        rotate = layer.attention.rotate
        layer.attention.rotate = lambda x, cos, sin, rotate=rotate: rotate(x, cos * scale, sin * scale)
    generator = torch.Generator().manual_seed(1)
    ids, positions = (
        torch.randint(net.config["vocab_size"], (1, LENGTH), generator=generator),
        torch.arange(LENGTH)[None],
    )
    with torch.no_grad():
        plain = reference.load_hf(folder)(ids, positions, reference.block_causal_mask(positions, BLOCKS[0]))[0]
        logits = {f"B{b}.logits": net(ids, positions, reference.block_causal_mask(positions, b))[0] for b in BLOCKS}
    assert (logits[f"B{BLOCKS[0]}.logits"] - plain).abs().max() > 0.05  # it matters
    return logits | {f"B{b}.ids": ids[0].int() for b in BLOCKS}


def main():
    OUT.mkdir(exist_ok=True)
    records = []
    for config, scaling in CASES:
        frequencies, scale = yarn(config, scaling)
        records.append(
            {
                "config": {**config, "rope_scaling": {"rope_type": "yarn", **scaling}},
                "inverse_frequencies": frequencies.tolist(),
                "attention_factor": scale,
            }
        )
    (OUT / "parameters.json").write_text("[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n")
    for name, scaling in FORWARDS.items():
        (OUT / name).mkdir(exist_ok=True)
        (OUT / name / "change.json").write_text(json.dumps({"rope_scaling": scaling}) + "\n")
        save_file(forwards(CONFORMANCE / name, scaling), str(OUT / name / "forward.safetensors"))


if __name__ == "__main__":
    main()
