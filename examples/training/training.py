"""What every stage shares: optimizers, learning rate, two or more processes, checkpoints, progress and curves."""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import tokenizer as tok
from documents import BLOCK, Corpus
from model import LLaDA2, load_hf, save_hf

CONFIG = {
    "architectures": ["LLaDA2MoeModelLM"],
    "model_type": "llada2_moe",
    "vocab_size": 1088,
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 256,
    "moe_intermediate_size": 96,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "score_function": "sigmoid",
    "router_dtype": "fp32",
    "moe_router_enable_expert_bias": True,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "rope_scaling": None,
    "partial_rotary_factor": 0.5,
    "rotary_dim": 16,
    "max_position_embeddings": 4096,
    "use_qk_norm": True,
    "use_bias": False,
    "use_qkv_bias": False,
    "use_rmsnorm": True,
    "tie_word_embeddings": False,
    "norm_head": False,
    "norm_softmax": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "attention_dropout": 0.0,
    "embedding_dropout": 0.0,
    "output_dropout": 0.0,
    "output_router_logits": False,
    "initializer_range": 0.02,
    "use_cache": False,
    "torch_dtype": "bfloat16",
}
BIAS_STEP = 0.003  # of the routers' selection bias, against the load


class Muon(torch.optim.Optimizer):
    """Momentum, then the update's nearest orthogonal matrix by five Newton-Schulz steps (Jordan et al. 2024). For
    weight matrices; a stack of matrices (the experts) is done in one go. Scaled so that learning rates are those of
    Adam."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

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
    matrices = [
        p for n, p in model.named_parameters() if p.dim() > 1 and n.startswith("layers") and "gate.weight" not in n
    ]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [Muon(matrices, lr), torch.optim.AdamW(others, lr, betas=(0.9, 0.98), weight_decay=0.0)]


def routers(model):
    return [m for n, m in model.named_modules() if n.endswith("mlp.gate")]


def average(tensors, processes):
    """The mean over the processes, in place, as one message."""
    if processes > 1:
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for t, mean in zip(tensors, (flat / processes).split([t.numel() for t in tensors])):
            t.copy_(mean.view_as(t))


def balance(model, processes):
    """Selection bias of the routers: up where the load is below the mean, down where it is above."""
    gates = routers(model)
    average([g.load for g in gates], processes)
    for gate in gates:
        gate.expert_bias += BIAS_STEP * torch.sign(gate.load.mean() - gate.load)


def export(model, tokenizer, folder, dtype=torch.bfloat16):
    folder = Path(folder)
    save_hf(model, folder, dtype)
    tok.save(tokenizer, folder)
    ids = {
        f"{name}_token_id": tokenizer.token_to_id(t)
        for name, t in (("eos", "<|endoftext|>"), ("pad", "<|endoftext|>"), ("mask", "<|mask|>"))
    }
    (folder / "config.json").write_text(json.dumps({**model.config, **ids}, indent=1) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({**ids, "block_length": BLOCK}, indent=1) + "\n")


def draw_curve(history, path, title):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4))
    for key in sorted(k for k in {k for h in history for k in h} if k != "step" and not k.startswith("share ")):
        points = [(h["step"], h[key]) for h in history if h.get(key)]
        axis.plot(*zip(*points), label=key)
    axis.set(xlabel="step", ylabel="nats", yscale="log", title=title)
    axis.legend()
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


class Stage:
    """One stage of the recipe. A subclass says what a batch is and what is lost on it."""

    title = ""
    minutes = 10.0  # of processor time, of each process
    lr, warmup, decay = 5e-3, 0.01, 0.4  # shares of the time for warming up from zero and for going back to zero
    rows, width = 6, 384  # of a batch, for each process

    def options(self, parser):
        """Options of its own; each sets the attribute of its name."""

    def model(self, start):
        """What is trained: the checkpoint of the stage before."""
        return load_hf(start) if start else LLaDA2(CONFIG)

    def prepare(self, corpus):
        """Called once in each process, before the first batch."""
        self.corpus = corpus

    def batch(self, progress):
        """The next batch; `progress` is the share of the time that is over, from 0 to 1."""
        raise NotImplementedError

    def loss(self, model, batch):
        """(loss, {name: (sum, count)} to be shown)."""
        raise NotImplementedError


def learning_rate(stage, progress):
    return stage.lr * min(
        1.0,
        (progress + 0.001) / stage.warmup if stage.warmup else 1.0,
        (1 - progress) / stage.decay if stage.decay else 1.0,
    )


def worker(rank, stage, args):
    if args.processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.processes
        )
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    out = Path(args.out)
    tokenizer = tok.load(args.start) if args.start else tok.build()
    model = stage.model(args.start).train()
    stage.prepare(Corpus(tokenizer, 1000 * args.seed + rank))
    opts = optimizers(model, stage.lr)
    history, step, spent, mine = [], 0, 0.0, out / f"random-{rank}.pt"
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt", weights_only=False)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["opts"]):
            opt.load_state_dict(saved)
        history, step, spent = state["history"], state["step"], state["spent"]
        stage.corpus.rng.setstate(torch.load(mine, weights_only=False))
    if rank == 0:
        print(
            f"{stage.title}: {sum(p.numel() for p in model.parameters()):,} parameters, "
            f"{args.processes * stage.rows * stage.width} tokens a step, from step {step}",
            flush=True,
        )

    # Processor time, the mean over the processes: to be stopped, or to share the machine, costs a run nothing.
    sums, began, before, said, saved = {}, time.process_time(), spent, spent, spent
    first, progress = step, spent / (60 * stage.minutes)
    while progress < 1:
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = learning_rate(stage, progress)
        loss, shown = stage.loss(model, stage.batch(progress))
        loss.backward()
        clock = torch.tensor(before + time.process_time() - began)
        average([*(p.grad for p in model.parameters()), clock], args.processes)
        spent, step = clock.item(), step + 1
        progress = spent / (60 * stage.minutes)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        balance(model, args.processes)
        for key, (total, count) in shown.items():
            old = sums.get(key, (0.0, 0.0))
            sums[key] = (old[0] + float(total), old[1] + float(count))
        if spent - said > 20 or progress >= 1:
            means = {k: total / max(count, 1e-9) for k, (total, count) in sums.items()}
            history.append({"step": step, **means})
            sums, said = {}, spent
            if rank == 0:
                load = max(g.load.max().item() * len(g.load) for g in routers(model))
                bar = "#" * round(20 * min(progress, 1))
                print(
                    f"[{bar:20}] {spent / 60:.1f} of {stage.minutes:g} min, step {step}  "
                    + "  ".join(f"{k} {v:.4f}" for k, v in means.items())
                    + f"  load {load:.2f}  {(spent - before) / (step - first):.3f} s/step",
                    flush=True,
                )
        if spent - saved > 60 or progress >= 1:
            saved = spent
            torch.save(stage.corpus.rng.getstate(), mine)
            if rank == 0:
                state = {
                    "model": model.state_dict(),
                    "opts": [o.state_dict() for o in opts],
                    "history": history,
                    "step": step,
                    "spent": spent,
                }
                torch.save(state, out / "state.part")
                os.replace(out / "state.part", out / "state.pt")
                export(model, tokenizer, out / "model")
                draw_curve(history, out / "curve.png", stage.title)


def main(stage):
    parser = argparse.ArgumentParser(description=stage.title)
    parser.add_argument(
        "--out", required=True, help="folder for state (training goes on from it), curve.png and model/"
    )
    parser.add_argument("--start", help="checkpoint folder of the stage before")
    parser.add_argument("--minutes", type=float, default=stage.minutes, help="of processor time")
    parser.add_argument(
        "--processes", type=int, default=min(2, os.cpu_count() or 1), help="each does the same number of rows"
    )
    parser.add_argument("--seed", type=int, default=0)
    stage.options(parser)
    args = parser.parse_args()
    for name in vars(args).keys() - {"out", "start", "processes", "seed"}:
        setattr(stage, name, getattr(args, name))
    Path(args.out).mkdir(parents=True, exist_ok=True)
    args.port = random.SystemRandom().randrange(20000, 60000)
    if args.processes == 1:
        worker(0, stage, args)
    else:
        mp.spawn(worker, (stage, args), args.processes)
