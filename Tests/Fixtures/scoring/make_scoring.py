"""Makes Tests/Fixtures/scoring: likelihoods and losses as PyTorch computes them, with the 2n x 2n attention mask
written out.

    pip install torch safetensors numpy                 # made with torch 2.15.0
    make && PYTHONPATH=bindings/python python3 Tests/Fixtures/scoring/make_scoring.py

The forward is the PyTorch model of examples/training in f32, first held against conformance/NAME; logits become
log-probabilities in f64. Of llada it takes only the noise that its seeds give, to say what follows from that.

NAME.json  sequences: tokens, prompt_length, block_length, noisy [versions][n] and, [versions][n], log_probs,
           predictions and entropies at every position after the prompt; losses of all of them; bounds of some of them
pair.json  EBPO and DPO of gqa_group, the old or reference model being the same with its last norm's weights times
           OLD_NORM
"""

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[3]
OUT, CONFORMANCE = ROOT / "Tests/Fixtures/scoring", ROOT / "Tests/Fixtures/conformance"
sys.path.insert(0, str(ROOT / "examples/training"))
import model as reference  # noqa: E402
from llada.likelihood import draw_noise  # noqa: E402

LAMBDA, BETA, EPS_LOW, EPS_HIGH, OLD_NORM = 1.4, 0.1, 0.05, 0.1, 1.01


def concatenated_mask(n, block):
    """[2n, 2n] bool over [noisy; clean]: may the query (row) see the key (column)?"""
    b = torch.arange(n) // block
    noisy_noisy, noisy_clean, clean_clean = b[:, None] == b, b[:, None] > b, b[:, None] >= b
    return torch.cat(
        [torch.cat([noisy_noisy, noisy_clean], 1), torch.cat([torch.zeros(n, n, dtype=torch.bool), clean_clean], 1)], 0
    )


@torch.no_grad()
def log_softmax(model, clean, noisy, block):
    """[n] x_0 and [versions, n] x_t -> [versions, n, vocab], f64"""
    n = len(clean)
    clean, noisy = torch.as_tensor(np.asarray(clean)).long(), torch.as_tensor(np.asarray(noisy)).long()
    mask = concatenated_mask(n, block)[None]
    positions = torch.arange(n).repeat(2)[None]
    rows = [model(torch.cat([z, clean])[None], positions, mask)[0, :n] for z in noisy]
    return torch.stack(rows).double().log_softmax(-1)


def own(log_p, tokens):
    """The log-probabilities of the sequence's tokens.  [versions, n]"""
    index = torch.as_tensor(np.asarray(tokens)).long()[None, :, None].expand(len(log_p), -1, 1)
    return log_p.gather(2, index)[..., 0]


def sequences(rng, vocab, mask):
    """Masked, wrong and right tokens in every mixture."""
    for n, prompt, block in ((40, 11, 8), (37, 0, 8), (64, 32, 32), (21, 5, 4), (9, 2, 1)):
        tokens = rng.integers(0, vocab, n)
        noisy = np.tile(tokens, (4, 1))
        for z, masked, wrong in zip(noisy, (1.0, 0.6, 0.3, 0.0), (0.0, 0.0, 0.3, 0.3)):
            kind = rng.random(n)
            z[(kind >= masked) & (kind < masked + wrong)] = rng.integers(
                0, vocab, ((kind >= masked) & (kind < masked + wrong)).sum()
            )
            z[kind < masked] = mask
            z[:prompt] = tokens[:prompt]
        yield {"tokens": tokens.tolist(), "prompt_length": prompt, "block_length": block, "noisy": noisy.tolist()}


def judged(model, case):
    log_p = log_softmax(model, case["tokens"], case["noisy"], case["block_length"])
    return log_p, own(log_p, case["tokens"])


def losses(model, cases, mask):
    """CAP (cross-entropy of the masked, entropy of those predicted right) and the streams of M2T and T2T."""
    masked, entropies, right, wrong, kept = [], [], [], [], []
    for case in cases:
        log_p, mine = judged(model, case)
        tokens, noisy = torch.tensor(case["tokens"]), torch.tensor(case["noisy"])
        answer = torch.arange(len(tokens)) >= case["prompt_length"]
        entropy, best = -(log_p.exp() * log_p).sum(-1), log_p.argmax(-1)
        where = (noisy == mask) & answer
        masked.append(-mine[where])
        entropies.append(entropy[where])
        right.append((best == tokens)[where])
        wrong.append(-mine[(noisy != mask) & (noisy != tokens) & answer])
        kept.append(-mine[(noisy == tokens) & answer])
    masked, entropies, right, wrong, kept = map(torch.cat, (masked, entropies, right, wrong, kept))
    confidence = (entropies * right).sum() / right.sum().clamp(min=1)
    return {
        "lambda": LAMBDA,
        "cap": (masked.mean() + LAMBDA * confidence).item(),
        "entropy": confidence.item(),
        "m2t": masked.mean().item(),
        "t2t": wrong.mean().item(),
        "keep": kept.mean().item(),
        "counts": [len(masked), len(wrong), len(kept), int(right.sum())],
    }


def completed(tokens, block, mask):
    return np.concatenate([tokens, np.full(-len(tokens) % block, mask)])


def estimates(model, tokens, prompt, block, noisy, group, mask):
    """Of noise with k masks among a block's m tokens, k uniform in 1..m, or with complements (group 2) in 0..m: a
    version's estimate is the sum over blocks of m/k, or (m + 1)/k, times the sum of log p."""
    canvas = completed(tokens, block, mask)
    mine = own(log_softmax(model, canvas, noisy, block), canvas)
    sums = torch.zeros(len(noisy), dtype=torch.float64)
    for start in range(prompt // block * block, len(tokens), block):
        place = slice(max(start, prompt), min(start + block, len(tokens)))
        where = torch.as_tensor(noisy[:, place] == mask)
        m, k = where.shape[1], where.sum(1)
        sums += torch.where(k > 0, (m + group - 1) / k.clamp(min=1), 0.0) * (mine[:, place] * where).sum(1)
    return sums.reshape(-1, group).mean(1)


def exact_bound(model, tokens, prompt, block, mask):
    """The integral over t of (1/t) E[sum over masked of log p]: all masks of each block, those with k of m masks
    weighing B(k, m - k + 1)."""
    canvas, total = completed(tokens, block, mask), 0.0
    for start in range(prompt // block * block, len(tokens), block):
        place = np.arange(max(start, prompt), min(start + block, len(tokens)))
        m = len(place)
        noisy = np.tile(canvas, (2**m - 1, 1))
        noisy[:, len(tokens) :] = mask
        for z, chosen in zip(noisy, itertools.islice(itertools.product((False, True), repeat=m), 1, None)):
            z[place[np.array(chosen)]] = mask
        where = torch.as_tensor(noisy[:, place] == mask)
        k = where.sum(1).tolist()
        weight = torch.tensor(
            [math.gamma(i) * math.gamma(m - i + 1) / math.gamma(m + 1) for i in k], dtype=torch.float64
        )
        mine = own(log_softmax(model, canvas, noisy, block), canvas)[:, place]
        total += (weight * (mine * where).sum(1)).sum().item()
    return total


def bounds(model, rng, vocab, mask):
    for n, prompt, block in ((18, 6, 8), (11, 3, 4)):
        tokens = rng.integers(0, vocab, n)
        case = {
            "tokens": tokens.tolist(),
            "prompt_length": prompt,
            "block_length": block,
            "seed": 5,
            "samples": 4,
            "exact": exact_bound(model, tokens, prompt, block, mask),
        }
        for name, complementary in (("pairs", True), ("single", False)):
            draw = draw_noise(tokens, prompt, block, mask, 4, 5, complementary, None)
            case[name] = estimates(model, tokens, prompt, block, draw.noised.noisy, draw.group, mask).tolist()
        positions = np.arange(prompt, n)
        canvas = completed(tokens, block, mask)
        noisy = np.tile(canvas, (len(positions), 1))
        noisy[np.arange(len(positions)), positions] = mask
        mine = own(log_softmax(model, canvas, noisy, block), canvas)
        case["pseudo"] = mine[np.arange(len(positions)), positions].sum().item()
        yield case


def ebpo(new, old, cases, advantages, weights):
    block, values = 8, []
    for model in (new, old):
        sums = []
        for case in cases:
            _, mine = judged(model, {**case, "block_length": block})
            where = torch.tensor(case["noisy"]) != torch.tensor(case["tokens"])
            sums.append((mine * where).sum(1))
        values.append(torch.stack(sums))
    log_rho = ((values[0] - values[1]) * torch.tensor(weights)).sum(1)
    rho, a = log_rho.exp(), torch.tensor(advantages)
    surrogate = torch.minimum(rho * a, rho.clamp(1 - EPS_LOW, 1 + EPS_HIGH) * a)
    return {
        "block_length": block,
        "sequences": cases,
        "advantages": advantages,
        "weights": weights,
        "eps": [EPS_LOW, EPS_HIGH],
        "log_ratios": log_rho.tolist(),
        "surrogates": surrogate.tolist(),
        "old": values[1].tolist(),
    }


def dpo(policy, ref, rng, vocab, mask):
    block, pairs, found = 8, [], []
    for index in range(3):
        prompt, chosen, rejected = (rng.integers(0, vocab, n) for n in (9, 14, 11))
        pairs.append([p.tolist() for p in (prompt, chosen, rejected)])
        b = []
        for answer in (chosen, rejected):
            tokens = np.concatenate([prompt, answer])
            draw = draw_noise(tokens, 9, block, mask, 1, 3 + index, False, None)
            b.append([estimates(m, tokens, 9, block, draw.noised.noisy, 1, mask)[0].item() for m in (policy, ref)])
        found.append(b)
    margins = [BETA * ((w[0] - w[1]) - (lost[0] - lost[1])) for w, lost in found]
    return {
        "block_length": block,
        "pairs": pairs,
        "beta": BETA,
        "seed": 3,
        "bounds": found,
        "margins": margins,
        "losses": [math.log1p(math.exp(-m)) for m in margins],
    }


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def write(name, value):
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rounded(value), separators=(",", ":")) + "\n")


def main():
    models, ids = {}, {}
    for name in ("gqa_group", "mha_nogroup", "mini_like"):
        worst = reference.check(CONFORMANCE / name)
        assert worst < 1e-4, (name, worst)
        models[name] = model = reference.load_hf(CONFORMANCE / name)
        mask = json.loads((CONFORMANCE / name / "decode.json").read_text())[0]["mask_id"]
        ids[name] = vocab, mask = mask - 1, mask  # tokens are drawn from below the two special ones
        rng = np.random.default_rng(7)
        cases = list(sequences(rng, vocab, mask))
        total = losses(model, cases, mask)
        for case in cases:
            log_p, mine = judged(model, case)
            case["log_probs"], case["predictions"] = mine.tolist(), log_p.argmax(-1).tolist()
            case["entropies"] = (-(log_p.exp() * log_p).sum(-1)).tolist()
        write(name, {"sequences": cases, "losses": total, "bounds": list(bounds(model, rng, vocab, mask))})
    new, old, rng = models["gqa_group"], reference.load_hf(CONFORMANCE / "gqa_group"), np.random.default_rng(8)
    old.norm.data *= OLD_NORM
    cases = [{k: v for k, v in case.items() if k != "block_length"} for case in sequences(rng, *ids["gqa_group"])]
    write(
        "pair",
        {
            "old_norm": OLD_NORM,
            "dpo": dpo(new, old, rng, *ids["gqa_group"]),
            "ebpo": ebpo(new, old, cases, [1.0, -0.5, 0.25, -2.0, 1.5], [0.02, 0.01, 0.03, 0.005]),
        },
    )


if __name__ == "__main__":
    main()
