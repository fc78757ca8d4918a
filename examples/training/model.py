"""LLaDA2 MoE (`llada2_moe`) in PyTorch, exactly as spec/model.md section 1 computes it, for fp32 training of small
models.

`python model.py FOLDER` compares the forward pass with a folder of conformance data (config.json, model.safetensors,
forward.safetensors).
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


def block_causal_mask(positions, block_length):
    """[.., T] positions -> [.., T, T] bool: query i sees key j iff block(j) <= block(i). Bidirectional inside a
    block."""
    block = positions // block_length
    return block[..., None, :] <= block[..., :, None]


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.dim, self.eps = (
            c["num_attention_heads"],
            c["num_key_value_heads"],
            c["head_dim"],
            c["rms_norm_eps"],
        )
        self.rotary = int(self.dim * c["partial_rotary_factor"])
        self.query_key_value = nn.Linear(c["hidden_size"], (self.heads + 2 * self.kv_heads) * self.dim, bias=False)
        self.query_layernorm, self.key_layernorm = (
            nn.Parameter(torch.ones(self.dim)),
            nn.Parameter(torch.ones(self.dim)),
        )
        self.dense = nn.Linear(self.heads * self.dim, c["hidden_size"], bias=False)

    def rotate(self, x, cos, sin):
        """Partial rotary: the first R dimensions turn in pairs (j, j+R/2), the rest pass through."""
        a, b, rest = x.split((self.rotary // 2, self.rotary // 2, self.dim - self.rotary), dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), dim=-1)

    def forward(self, x, cos, sin, mask):
        rows, length, _ = x.shape
        qkv = self.query_key_value(x).view(rows, length, -1, self.dim).transpose(1, 2)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        q = self.rotate(F.rms_norm(q, (self.dim,), self.query_layernorm, self.eps), cos, sin)
        k = self.rotate(F.rms_norm(k, (self.dim,), self.key_layernorm, self.eps), cos, sin)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, dim=1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        return self.dense(out.transpose(1, 2).reshape(rows, length, -1))


class GatedFFN(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(hidden, inner, bias=False), nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Router(nn.Module):
    """Sigmoid scores; a bias that only selects. Before the top k, 2.0 and 2.1 choose groups of experts (score = sum of
    the two best), 2.2 the experts that a block shares (model.md sections 1 and 1.1)."""

    def __init__(self, c):
        super().__init__()
        self.groups, self.kept_groups = c["n_group"], c["topk_group"]
        self.capacity, self.block = c.get("expert_capacity") or 0, c.get("block_size", 32)
        self.k, self.scale = c["num_experts_per_tok"], c["routed_scaling_factor"]
        self.weight = nn.Parameter(torch.empty(c["num_experts"], c["hidden_size"]))
        self.register_buffer("expert_bias", torch.zeros(c["num_experts"]))
        self.load = None  # share of the last batch's choices per expert, for balancing in training

    def grouped(self, choice):
        """[rows, T, E], -inf outside the groups a token may choose from."""
        groups = choice.unflatten(-1, (self.groups, -1))
        score = groups.topk(min(2, groups.shape[-1]), dim=-1).values.sum(-1)
        kept = torch.zeros_like(score, dtype=torch.bool).scatter_(
            -1, score.topk(self.kept_groups, dim=-1).indices, True
        )
        return groups.masked_fill(~kept[..., None], -math.inf).flatten(-2)

    def pooled(self, choice):
        """[rows, T, E], -inf outside the experts of a token's block: those that score highest with any of its tokens.
        A row starts with a block; its last one may be short."""
        length = choice.shape[1]
        blocks = F.pad(choice, (0, 0, 0, -length % self.block), value=-math.inf).unflatten(1, (-1, self.block))
        best = blocks.amax(2).sort(dim=-1, descending=True, stable=True).indices[..., : self.capacity]
        kept = torch.zeros_like(blocks[:, :, 0], dtype=torch.bool).scatter_(-1, best, True)
        return blocks.masked_fill(~kept[:, :, None], -math.inf).flatten(1, 2)[:, :length]

    def forward(self, x):
        scores = torch.sigmoid(F.linear(x, self.weight))  # [rows, T, E]
        with torch.no_grad():
            choice = scores + self.expert_bias
            choice = self.pooled(choice) if self.capacity else self.grouped(choice)
            chosen = choice.topk(self.k, dim=-1).indices
            self.load = torch.bincount(chosen.flatten(), minlength=len(self.expert_bias)) / chosen.numel()
        weights = scores.gather(-1, chosen)
        if self.k > 1:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen.flatten(0, -2), (weights * self.scale).flatten(0, -2)


class MoE(nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, inner, experts = c["hidden_size"], c["moe_intermediate_size"], c["num_experts"]
        self.gate = Router(c)
        # Stacked over the experts (dFactory's merged layout); split into one tensor per expert when a checkpoint is
        # written.
        self.gate_proj = nn.Parameter(torch.empty(experts, inner, hidden))
        self.up_proj = nn.Parameter(torch.empty(experts, inner, hidden))
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, inner))
        self.shared_experts = GatedFFN(hidden, inner * c["num_shared_experts"])

    def forward(self, x):
        flat = x.flatten(0, -2)
        chosen, weights = self.gate(x)
        # Rows sorted by expert, so that each expert is three plain products over its own rows.
        order = chosen.flatten().argsort(stable=True)
        token = order // chosen.shape[1]
        counts = torch.bincount(chosen.flatten(), minlength=len(self.gate_proj)).tolist()
        parts = []
        experts = zip(self.gate_proj.unbind(), self.up_proj.unbind(), self.down_proj.unbind())
        for rows, (gate, up, down) in zip(flat[token].split(counts), experts):
            parts.append(F.linear(F.silu(F.linear(rows, gate)) * F.linear(rows, up), down))
        routed = torch.zeros_like(flat).index_add(0, token, torch.cat(parts).float() * weights.flatten()[order, None])
        return (routed + self.shared_experts(flat)).view_as(x)


class Layer(nn.Module):
    def __init__(self, c, index):
        super().__init__()
        hidden = c["hidden_size"]
        self.eps, self.shape = c["rms_norm_eps"], (hidden,)
        self.input_layernorm, self.post_attention_layernorm = (
            nn.Parameter(torch.ones(hidden)),
            nn.Parameter(torch.ones(hidden)),
        )
        self.attention = Attention(c)
        self.mlp = GatedFFN(hidden, c["intermediate_size"]) if index < c["first_k_dense_replace"] else MoE(c)

    def forward(self, x, cos, sin, mask):
        x = x + self.attention(F.rms_norm(x, self.shape, self.input_layernorm, self.eps), cos, sin, mask)
        return x + self.mlp(F.rms_norm(x, self.shape, self.post_attention_layernorm, self.eps))


class LLaDA2(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.word_embeddings = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c, i) for i in range(c["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(c["hidden_size"]))
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        rotary = int(c["head_dim"] * c["partial_rotary_factor"])
        inv_freq = c["rope_theta"] ** (-torch.arange(0, rotary, 2, dtype=torch.float64) / rotary)
        self.register_buffer("inv_freq", inv_freq.float(), persistent=False)
        self.reset()

    def reset(self):
        """Normal initialisation; what writes into the residual stream starts smaller, the more layers there are."""
        depth = 1 / math.sqrt(2 * len(self.layers))
        for name, p in self.named_parameters():
            if p.dim() > 1:
                std = 1 / math.sqrt(p.shape[-1])
                if name.endswith(("dense.weight", "down_proj", "down_proj.weight")):
                    std *= depth
                if name.startswith("word_embeddings"):
                    std = 0.5  # a token must not drown in what the first layers add to it
                if name.startswith("lm_head") or name.endswith("mlp.gate.weight"):
                    std = 0.02
                nn.init.normal_(p, 0, std)

    def forward(self, ids, positions, mask, wanted=None):
        """ids, positions [R, T], mask [R, T, T] (True = may look) -> logits at the same positions: [R, T, V], or [n, V]
        where `wanted` [R, T]."""
        angles = positions[:, None, :, None] * self.inv_freq
        cos, sin = angles.cos(), angles.sin()
        x = self.word_embeddings(ids)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        if wanted is not None:
            x = x[wanted]
        return self.lm_head(F.rms_norm(x, x.shape[-1:], self.norm, self.config["rms_norm_eps"]))


# --- Checkpoints in the Hugging Face layout (model.md section 2) ------------------------------------------------------

NAMES = {  # ours -> theirs, as suffixes; everything but lm_head stands under `model.`
    "query_layernorm": "query_layernorm.weight",
    "key_layernorm": "key_layernorm.weight",
    "input_layernorm": "input_layernorm.weight",
    "post_attention_layernorm": "post_attention_layernorm.weight",
    "norm": "norm.weight",
}


def hf_tensors(model, dtype):
    """The state as Hugging Face names and shapes it, one tensor per expert. `expert_bias` stays F32 as in 2.1."""
    tensors = {}
    for name, value in model.state_dict().items():
        head, _, last = name.rpartition(".")
        full = (
            name
            if name.startswith("lm_head")
            else "model." + (f"{head}.{NAMES[last]}" if head and last in NAMES else NAMES.get(name, name))
        )
        if value.dim() == 3:
            for e in range(len(value)):
                tensors[f"model.{head}.experts.{e}.{last}.weight"] = value[e].to(dtype).contiguous()
        else:
            tensors[full] = value.clone() if last == "expert_bias" else value.to(dtype).contiguous()
    return tensors


def save_hf(model, folder, dtype=torch.bfloat16):
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file(hf_tensors(model, dtype), str(Path(folder) / "model.safetensors"), metadata={"format": "pt"})


def load_hf(folder):
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    model, stored = LLaDA2(config), load_file(str(folder / "model.safetensors"))
    state = {}
    for name, value in model.state_dict().items():
        one = hf_name_source(name, value, stored)
        assert one.shape == value.shape, f"{name}: expected {tuple(value.shape)}, found {tuple(one.shape)}"
        state[name] = one.float()
    model.load_state_dict(state)
    return model.eval()


def hf_name_source(name, value, stored):
    head, _, last = name.rpartition(".")
    if value.dim() == 3:
        return torch.stack([stored[f"model.{head}.experts.{e}.{last}.weight"] for e in range(len(value))])
    if name.startswith("lm_head"):
        return stored[name]
    return stored["model." + (f"{head}.{NAMES[last]}" if head and last in NAMES else NAMES.get(name, name))]


def check(folder):
    """Largest difference from the reference logits, over all block lengths (or, with block routing, lengths) the folder
    holds."""
    model, reference, worst = load_hf(folder), load_file(str(Path(folder) / "forward.safetensors")), 0.0
    for key in sorted(k for k in reference if k.endswith(".ids")):
        case = key.removesuffix(".ids")  # B8: blocks of 8 tokens; T24: 24 tokens, in routing blocks
        length = int(case[1:]) if case[0] == "B" else model.config["block_size"]
        ids = reference[key].long()[None]
        positions = torch.arange(ids.shape[1])[None]
        with torch.no_grad():
            logits = model(ids, positions, block_causal_mask(positions, length))[0]
        worst = max(worst, (logits - reference[f"{case}.logits"]).abs().max().item())
    return worst


if __name__ == "__main__":
    for path in sys.argv[1:]:
        worst = check(path)
        print(f"{path}: max |dlogit| {worst:.2e}")
        if worst > 1e-4:
            sys.exit("the forward pass differs from the reference")
