"""Trains the example model: block diffusion with the M2T + T2T mixture and multi-turn forward (spec/training.md, "2.1 mixture").

One document is a prompt in the chat layout and its answer, filled up with <|endoftext|> to whole blocks of 32. A row of the batch holds
three slots of 32 tokens of one document: first its clean blocks, as context, then noisy copies of the blocks that hold the answer. This is
the concatenated noisy + clean mask of the reports, without the noisy prompt blocks that carry no loss and the clean last block nobody
looks at. Prompts have their real lengths, so a prompt ends anywhere within its block, as at inference.

    python train.py --out runs/tiny --model ../models/tiny-2.1      # continues from runs/tiny/state.pt if there is one
"""
import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import tasks
import tokenizer as tok
from model import LLaDA2, save_hf

BLOCK, SLOTS = 32, 3

CONFIG = {
    "architectures": ["LLaDA2MoeModelLM"], "model_type": "llada2_moe", "vocab_size": 544, "hidden_size": 128, "num_hidden_layers": 4,
    "first_k_dense_replace": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256,
    "moe_intermediate_size": 96, "num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1, "n_group": 4, "topk_group": 2,
    "routed_scaling_factor": 2.5, "norm_topk_prob": True, "score_function": "sigmoid", "router_dtype": "fp32",
    "moe_router_enable_expert_bias": True, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "rope_scaling": None,
    "partial_rotary_factor": 0.5, "rotary_dim": 16, "max_position_embeddings": 4096, "use_qk_norm": True, "use_bias": False,
    "use_qkv_bias": False, "use_rmsnorm": True, "tie_word_embeddings": False, "norm_head": False, "norm_softmax": False,
    "use_sliding_window": False, "sliding_window": 4096, "attention_dropout": 0.0, "embedding_dropout": 0.0, "output_dropout": 0.0,
    "output_router_logits": False, "initializer_range": 0.02, "use_cache": False, "torch_dtype": "bfloat16",
}

# What the loss counts (relative weights of positions of the answer).
KEEP = 0.3       # a visible token that is right must be predicted again: S mode rewrites whatever the model doubts
AFTER_END = 0.1  # the filling behind the first end of text
BIAS_STEP = 0.003
MASKS_FIRST = 0.7  # share of the steps before multi-turn forward begins: drafts of a model that knows nothing teach nothing


class Documents:
    """Endless training documents, and the noise put on them."""

    def __init__(self, tokenizer, seed):
        self.tokenizer, self.rng = tokenizer, random.Random(seed)
        self.eos, self.mask = (tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|mask|>"))
        ids = tokenizer.get_vocab()
        self.digits = [ids[c] for c in "0123456789"]
        self.signs = [ids[c] for c in ("+", "-", "=", "<", ">", ",", ".", ":", "Ġ", "ĠAnswer", "Answer")] + [self.eos]
        self.drafts = False  # masks first, the model's own drafts once it has any worth correcting
        self.kin = {i: group for group in (self.digits, self.signs) for i in group}

    def corrupted(self, target):
        """A wrong token: mostly of the same kind (digit for digit), as the model's own errors are."""
        choices = self.kin[target] if self.rng.random() < 0.7 else self.rng.choice((self.digits, self.signs))
        return self.rng.choice(choices)

    def noisy(self, targets, fixed):
        """One block with noise on its answer part. Two streams in one: masks (M2T) and random wrong tokens (T2T), often both."""
        rng = self.rng
        kind = rng.random()
        if kind < (0.4 if self.drafts else 0.25):  # fully masked: every block starts there
            masked, wrong = 1.0, 0.0
        elif kind < (0.75 if self.drafts else 0.85):  # M2T, sometimes with wrong tokens among the visible ones
            masked, wrong = rng.uniform(0.1, 1.0), rng.choice((0.0, rng.uniform(0.0, 0.2)))
        else:  # T2T alone
            masked, wrong = 0.0, rng.uniform(0.02, 0.5)
        block = []
        for target, keep in zip(targets, fixed):
            if not keep and rng.random() < masked:
                target = self.mask
            elif not keep and rng.random() < wrong:
                target = self.corrupted(target)
            block.append(target)
        return block

    def row(self):
        """One document as SLOTS slots: (ids, targets, weights, block of each slot, is it noisy)."""
        rng = self.rng
        question = tasks.draw(rng, held_out=False)
        prompt = self.tokenizer.encode(tok.chat(question.text)).ids
        answer = self.tokenizer.encode(question.worked).ids
        text = prompt + answer + [self.eos]
        text += [self.eos] * (-len(text) % BLOCK)
        end = len(prompt) + len(answer)
        weights = [0.0] * len(prompt) + [1.0] * (len(answer) + 1) + [AFTER_END] * (len(text) - end - 1)
        first, last = len(prompt) // BLOCK, len(text) // BLOCK - 1
        spare = SLOTS - last  # the clean blocks are 0 .. last-1
        answers = list(range(first, last + 1))
        if len(answers) > spare:
            answers = rng.sample(answers, spare)
        noisy = answers + [rng.choice(answers) for _ in range(spare - len(answers))]
        ids, targets, weight = [], [], []
        for block in range(last):
            ids += text[block * BLOCK:(block + 1) * BLOCK]
            targets += [0] * BLOCK
            weight += [0.0] * BLOCK
        for block in noisy:
            part = slice(block * BLOCK, (block + 1) * BLOCK)
            ids += self.noisy(text[part], [w == 0 for w in weights[part]])
            targets += text[part]
            weight += weights[part]
        return ids, targets, weight, list(range(last)) + noisy, [False] * last + [True] * len(noisy)


def slot_mask(block, noisy):
    """[R, S] block numbers and noisy flags -> [R, T, T] bool. noisy -> itself and clean blocks before it; clean -> clean up to its own block."""
    query, key = block[:, :, None], block[:, None, :]
    same = torch.eye(block.shape[1], dtype=torch.bool)
    may = torch.where(noisy[:, :, None], (~noisy[:, None, :] & (key < query)) | same, ~noisy[:, None, :] & (key <= query))
    return may.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)


class Batch:
    """Rows that live for a few turns: after each step a row's noisy blocks become the model's own next draft (multi-turn forward),
    written by the decoding rule of 2.1 (decoding.md section 2) at thresholds like those of S and Q mode. Costs no extra forward."""

    def __init__(self, documents, rows):
        self.documents, self.rows = documents, rows
        self.ids, self.targets = (torch.zeros(rows, SLOTS * BLOCK, dtype=torch.long) for _ in range(2))
        self.weights = torch.zeros(rows, SLOTS * BLOCK)
        self.block, self.noisy = torch.zeros(rows, SLOTS, dtype=torch.long), torch.zeros(rows, SLOTS, dtype=torch.bool)
        self.turns = torch.zeros(rows, dtype=torch.long)
        self.thresholds = torch.zeros(rows, 2)
        self.refill(range(rows))

    def refill(self, rows):
        rng = self.documents.rng
        for r in rows:
            ids, targets, weights, block, noisy = self.documents.row()
            self.ids[r], self.targets[r], self.weights[r] = torch.tensor(ids), torch.tensor(targets), torch.tensor(weights)
            self.block[r], self.noisy[r] = torch.tensor(block), torch.tensor(noisy)
            self.turns[r] = rng.choice((1, 2, 3, 4)) if self.documents.drafts else 1
            self.thresholds[r] = torch.tensor(rng.choice(((0.5, 0.0), (0.5, 0.0), (0.3, 0.0), (0.0, 0.0), (0.7, 0.5))))

    def positions(self):
        return (self.block[:, :, None] * BLOCK + torch.arange(BLOCK)).flatten(1)

    def wanted(self):
        return self.weights > 0

    def loss_weights(self):
        """Masked or wrong: full weight. Visible and right: KEEP."""
        return self.weights * torch.where(self.ids == self.targets, KEEP, 1.0)

    def advance(self, logits):
        wanted = self.wanted()
        confidence, prediction = torch.zeros(wanted.shape), self.ids.clone()
        top = logits.softmax(-1).max(-1)
        confidence[wanted], prediction[wanted] = top.values, top.indices
        masked = wanted & (self.ids == self.documents.mask)
        # M2T above the threshold, at least the most confident masked position of each block
        best = confidence.masked_fill(~masked, -1).unflatten(1, (SLOTS, BLOCK))
        fallback = (best == best.max(-1, keepdim=True).values).flatten(1)
        m2t = masked & ((confidence > self.thresholds[:, :1]) | fallback)
        t2t = wanted & ~masked & (confidence > self.thresholds[:, 1:])
        self.ids = torch.where(m2t | t2t, prediction, self.ids)
        self.turns -= 1
        done = (self.turns <= 0) | ((self.ids == self.targets) | ~wanted).all(1)
        self.refill(done.nonzero().flatten().tolist())


class Muon(torch.optim.Optimizer):
    """Momentum, then the update's nearest orthogonal matrix by five Newton-Schulz steps (Jordan et al. 2024). For weight matrices; a stack
    of matrices (the experts) is done in one go. Scaled so that learning rates are those of Adam."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "m" not in state:
                    state["m"] = torch.zeros_like(p)
                m = state["m"].lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(m, group["momentum"]).bfloat16()
                tall = x.shape[-2] > x.shape[-1]
                x = x.mT if tall else x
                x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                for _ in range(5):
                    a = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = x.mT if tall else x
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(x.float(), alpha=-group["lr"] * 0.2 * math.sqrt(max(x.shape[-2:])))


def optimizers(model, lr):
    matrices = [p for n, p in model.named_parameters() if p.dim() > 1 and n.startswith("layers") and "gate.weight" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(matrices, lr), torch.optim.AdamW(others, lr, betas=(0.9, 0.98), weight_decay=0.0)]


def schedule(progress):
    """Warm-up over the first hundredth, constant, then linear to zero over the last 40 %."""
    return min(1.0, progress / 0.01, (1.0 - progress) / 0.4)


def balance(model):
    """Selection bias of the routers: up where the load is below the mean, down where it is above."""
    for name, module in model.named_modules():
        if name.endswith("mlp.gate"):
            module.expert_bias += BIAS_STEP * torch.sign(module.load.mean() - module.load)


def export(model, tokenizer, folder):
    folder = Path(folder)
    save_hf(model, folder)
    tok.save(tokenizer, folder)
    ids = {f"{name}_token_id": tokenizer.token_to_id(t) for name, t in (("eos", "<|endoftext|>"), ("pad", "<|endoftext|>"), ("mask", "<|mask|>"))}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **ids}, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({**ids, "block_length": BLOCK}, indent=1) + "\n")


def draw_curve(history, path):
    try:
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        return
    figure, axis = plt.subplots(figsize=(7, 4))
    for key, label in (("masked", "masked"), ("wrong", "wrong token"), ("right", "right token (kept)")):
        axis.plot([h["step"] for h in history], [h[key] for h in history], label=label)
    axis.set(xlabel="step", ylabel="cross-entropy", yscale="log", title="loss by what stood at the position")
    axis.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for the state, the curve and a model exported every 500 steps")
    parser.add_argument("--model", help="folder for the finished model and its held-out questions")
    parser.add_argument("--steps", type=int, default=5200)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    tokenizer = tok.build()
    assert tokenizer.get_vocab_size() <= CONFIG["vocab_size"]
    model = LLaDA2(CONFIG)
    batch = Batch(Documents(tokenizer, args.seed), args.rows)
    opts = optimizers(model, args.lr)
    history, start = [], 0
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt", weights_only=False)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["opts"]):
            opt.load_state_dict(saved)
        batch, history, start = state["batch"], state["history"], state["step"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {args.rows * SLOTS * BLOCK} tokens a step, from step {start}")

    sums, began = torch.zeros(3, 2), time.time()
    for step in range(start, args.steps):
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = args.lr * schedule((step + 1) / args.steps)
        batch.documents.drafts = step >= args.steps * MASKS_FIRST
        wanted = batch.wanted()
        logits = model(batch.ids, batch.positions(), slot_mask(batch.block, batch.noisy), wanted)
        losses = F.cross_entropy(logits, batch.targets[wanted], reduction="none")
        weights = batch.loss_weights()[wanted]
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        balance(model)

        ids, full = batch.ids[wanted], batch.weights[wanted] == 1
        is_masked, is_right = ids == batch.documents.mask, ids == batch.targets[wanted]
        for i, kind in enumerate((is_masked, ~is_masked & ~is_right, is_right)):
            sums[i] += torch.stack((losses.detach()[kind & full].sum(), (kind & full).sum()))
        batch.advance(logits.detach())

        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            means = (sums[:, 0] / sums[:, 1].clamp(min=1)).tolist()
            history.append(dict(zip(("step", "masked", "wrong", "right"), [step + 1] + means)))
            sums.zero_()
            load = max(m.load.max().item() * len(m.load) for n, m in model.named_modules() if n.endswith("mlp.gate"))
            speed = (time.time() - began) / (step + 1 - start)
            bar = "#" * round(20 * (step + 1) / args.steps)
            print(f"[{bar:20}] {step + 1}/{args.steps}  masked {means[0]:.4f}  wrong {means[1]:.4f}  right {means[2]:.4f}  "
                  f"load {load:.2f}  {speed:.3f} s/step  {speed * (args.steps - step - 1) / 60:.1f} min left", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            torch.save({"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "batch": batch, "history": history,
                        "step": step + 1}, out / "state.pt")
            export(model, tokenizer, out)
            draw_curve(history, out / "curve.png")
    if args.model:
        export(model, tokenizer, args.model)
        tasks.write_jsonl(Path(args.model) / "held_out.jsonl", tasks.held_out_set(75))


if __name__ == "__main__":
    sys.exit(main())
