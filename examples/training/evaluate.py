"""Reference decoding in PyTorch and the scores of a checkpoint on held-out questions.

Decodes with low confidence (2.0) and joint threshold (2.1: S, Q, and S without editing), after spec/decoding.md sections 1 and 2. Rows are
independent: each keeps its own block and counters, one forward serves all rows, and what a row computes does not depend on the others
(the mask is strictly block-causal, so the not yet decoded blocks behind a row's block change nothing).

    python evaluate.py MODEL_FOLDER [--questions held_out.jsonl | --per-family 50] [--show 5]
"""
import argparse
import json
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

import tasks
import tokenizer as tok
from model import block_causal_mask, load_hf

BLOCK = 32
MODES = {
    "low_confidence .95": dict(threshold=0.95, editing=None),
    "S": dict(threshold=0.5, editing=0.0),
    "S without editing": dict(threshold=0.5, editing=None),
    "Q": dict(threshold=0.7, editing=0.5),
}
MAX_POST_STEPS = 16


class Row:
    """One answer in the making."""

    def __init__(self, prompt, gen_length, mask):
        self.prompt, self.mask = len(prompt), mask
        self.blocks = math.ceil((len(prompt) + gen_length) / BLOCK)
        self.canvas = torch.full((self.blocks * BLOCK,), mask)
        self.canvas[:len(prompt)] = torch.tensor(prompt)
        self.block, self.post, self.forwards, self.edits, self.done = len(prompt) // BLOCK, 0, 0, 0, False

    def leave_block(self, eos):
        generated = self.canvas[self.prompt:(self.block + 1) * BLOCK]
        self.block, self.post = self.block + 1, 0
        self.done = self.block == self.blocks or bool((generated == eos).any())

    def before_forward(self, editing, eos):
        """Step 1 of the loop: a block without masks is finished (2.0), or has its post steps counted (2.1)."""
        while not self.done and not (self.canvas[self.block * BLOCK:(self.block + 1) * BLOCK] == self.mask).any():
            self.post += 1
            if editing is not None and self.post <= MAX_POST_STEPS:
                return
            self.leave_block(eos)

    def step(self, logits, threshold, editing, eos):
        """Steps 3 to 6: M2T and T2T decided on the block as it was, written together."""
        self.forwards += 1
        block = self.canvas[self.block * BLOCK:(self.block + 1) * BLOCK]
        confidence, prediction = logits.softmax(-1).max(-1)
        masked = block == self.mask
        m2t = masked & (confidence > threshold)
        if masked.any() and not m2t.any():
            m2t[confidence.masked_fill(~masked, -1).argmax()] = True
        t2t = torch.zeros_like(masked)
        if editing is not None:
            own = torch.arange(self.block * BLOCK, (self.block + 1) * BLOCK) >= self.prompt
            t2t = own & ~masked & (confidence > editing) & (prediction != block)
        block[m2t | t2t] = prediction[m2t | t2t]
        self.edits += int(t2t.sum())
        if not masked.any() and not t2t.any():
            self.leave_block(eos)

    def output(self, eos):
        tokens = self.canvas[self.prompt:].tolist()
        return tokens[:tokens.index(eos) + 1] if eos in tokens else tokens


@torch.no_grad()
def decode(model, prompts, threshold, editing, eos, mask, gen_length=64):
    rows = [Row(p, gen_length, mask) for p in prompts]
    while True:
        for row in rows:
            row.before_forward(editing, eos)
        active = [row for row in rows if not row.done]
        if not active:
            return rows
        length = max((row.block + 1) * BLOCK for row in active)
        ids = torch.full((len(active), length), mask)
        wanted = torch.zeros(len(active), length, dtype=torch.bool)
        for i, row in enumerate(active):
            seen = min(length, len(row.canvas))
            ids[i, :seen] = row.canvas[:seen]
            wanted[i, row.block * BLOCK:(row.block + 1) * BLOCK] = True
        positions = torch.arange(length).expand(len(active), length)
        logits = model(ids, positions, block_causal_mask(positions, BLOCK), wanted).view(len(active), BLOCK, -1)
        for row, own in zip(active, logits):
            row.step(own, threshold, editing, eos)


def score(model, tokenizer, questions, mode, eos, mask, chunk=100):
    """One record per question: final, strict, tokens, forwards, edits, text."""
    records = []
    for i in range(0, len(questions), chunk):
        part = questions[i:i + chunk]
        rows = decode(model, [tokenizer.encode(tok.chat(q.text)).ids for q in part], eos=eos, mask=mask, **MODES[mode])
        for q, row in zip(part, rows):
            tokens = row.output(eos)
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            final, strict = tasks.check(q, text)
            records.append(dict(question=q, text=text, final=final, strict=strict, tokens=len(tokens), forwards=row.forwards, edits=row.edits))
    return records


def mean(records, key):
    return sum(r[key] for r in records) / len(records)


def summary(records):
    n = len(records)
    final, strict = mean(records, "final"), mean(records, "strict")
    error = math.sqrt(final * (1 - final) / n)
    return (f"{n:5d}   {100 * final:5.1f} ±{100 * error:4.1f}   {100 * strict:6.1f}   "
            f"{sum(r['tokens'] for r in records) / sum(r['forwards'] for r in records):5.2f}   {mean(records, 'edits'):5.2f}")


def read_jsonl(path):
    lines = (json.loads(line) for line in open(path))
    return [tasks.Question(d["family"], d["question"], d["question"], d["worked"], d["final"]) for d in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--questions", help="a held_out.jsonl; otherwise questions are drawn from the held-out side of the split")
    parser.add_argument("--per-family", type=int, default=50)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--show", type=int, default=0, help="print that many wrong answers per mode")
    args = parser.parse_args()

    model = load_hf(args.model)
    tokenizer = Tokenizer.from_file(str(Path(args.model) / "tokenizer.json"))
    eos, mask = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|mask|>")
    questions = read_jsonl(args.questions) if args.questions else tasks.held_out_set(args.per_family, seed=7)
    print(f"{'mode':20}{'family':14}    n   final %       strict %     TPF   edits/answer")
    for mode in args.modes:
        records = score(model, tokenizer, questions, mode, eos, mask)
        for family in tasks.FAMILIES:
            print(f"{mode:20}{family:14}{summary([r for r in records if r['question'].family == family])}")
        print(f"{mode:20}{'all':14}{summary(records)}", flush=True)
        for r in [r for r in records if not r["strict"]][:args.show]:
            print(f"    {r['question'].text}\n      expected {r['question'].worked}\n      got      {r['text']}")


if __name__ == "__main__":
    main()
