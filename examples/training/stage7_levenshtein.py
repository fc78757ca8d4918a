"""Stage 7: insertions, deletions, and blocks that share their experts -> 2.2 (spec/training.md, section 9;
spec/model.md 1.1).

A row lives for a few turns, as in stage 5, but what a window's tokens shall become is found anew at each turn, by
aligning it with its target (levenshtein.py): KEEP, SUBSTITUTE, DELETE, INSERT. The next draft is what the 2.2 rule
makes of it (spec/decoding.md section 5), tokens moving. Drafts come from the model's own decoding, and from targets
with tokens forgotten, added and wrong.

    python stage7_levenshtein.py --start ../models/tiny-2.1 --out runs/7-levenshtein
"""

import torch
import torch.nn.functional as F

import levenshtein
import tasks
import tokenizer as tok
import training
from documents import BLOCK, Batch, Packer, Shown, Window, noised
from model import LLaDA2, load_hf

SLICES = 4  # of each expert: 8 experts of 96 become 32 of 24
CAPACITY = 8  # experts that the tokens of a block share
TAKEN = 4  # of them, by each token
KEEP = 0.3  # weight of a visible token that is right: S mode rewrites whatever the model doubts
MOVE = 2.0  # weight of DELETE and INSERT, which are rare: 2.1 has learnt to overwrite all that stands behind
TURNS = (1, 2, 3, 4, 5, 6)
THRESHOLDS = ((0.5, 0.0), (0.5, 0.0), (0.5, 0.0), (0.3, 0.0), (0.0, 0.0), (0.7, 0.5))  # (threshold, editing threshold)


def split(model, slices, taken, capacity, ids):
    """The model with each expert cut along its inner dimension into as many experts as `slices`, all with its row of
    the router. They score alike, so a token that takes `slices` times as many experts takes whole ones: the same
    function, but for the groups, which block routing has not. A token that takes as many as `slices` has the best
    expert alone. What each slice is worth by itself is learnt."""
    c = model.config
    config = {
        **c,
        "moe_intermediate_size": c["moe_intermediate_size"] // slices,
        "num_experts": c["num_experts"] * slices,
        "num_experts_per_tok": taken,
        "num_shared_experts": c["num_shared_experts"] * slices,  # as wide as before
        "expert_capacity": capacity,
        "block_size": BLOCK,
        **ids,
    }
    state = {}
    for name, value in model.state_dict().items():
        last = name.rpartition(".")[2]
        if value.dim() == 3:
            if last == "down_proj":  # [experts, hidden, inner]
                value = value.unflatten(2, (slices, -1)).transpose(1, 2).flatten(0, 1)
            else:  # [experts, inner, hidden]
                value = value.unflatten(1, (slices, -1)).flatten(0, 1)
            if last != "gate_proj":  # each has a share of the weight: up and down make it good
                value = value * slices**0.5
        elif last == "expert_bias" or name.endswith("mlp.gate.weight"):
            value = value.repeat_interleave(slices, dim=0)
        state[name] = value
    state["lm_head.weight"][list(ids.values())] = 0  # unlikely so far, not unthinkable
    made = LLaDA2(config)
    made.load_state_dict(state)
    return made


class Levenshtein(training.Stage):
    title = "Stage 7: insertions, deletions, shared experts"
    minutes, lr, decay = 20, 3e-3, 0.6

    def model(self, start):
        unused = tok.load(start).get_vocab_size()  # the first id that the padded vocabulary has left
        ids = {"delete_token_id": unused, "split_token_id": unused + 1}
        return split(load_hf(start), SLICES, TAKEN, CAPACITY, ids)

    def prepare(self, corpus):
        super().prepare(corpus)
        tok.add_special(corpus.tokenizer, tok.EDITS)
        self.delete, self.insert = (corpus.tokenizer.token_to_id(t) for t in tok.EDITS)
        self.packer = Packer(self.source, self.width)
        self.live = Batch(self.rows, self.width)
        self.labels, self.label_weights = torch.zeros_like(self.live.ids), torch.zeros_like(self.live.weights)
        self.wanted = [[] for _ in range(self.rows)]  # of each row, what is right in each place: see levenshtein.agrees
        self.turns = torch.zeros(self.rows, dtype=torch.long)
        self.thresholds = torch.zeros(self.rows, 2)
        self.other = {}
        for word, other in tasks.WORDINGS.items():
            for space in ("", " "):
                a, b = (corpus.tokenizer.encode(space + w.strip()).ids for w in (word, other))
                if len(a) == len(b) == 1:
                    self.other[a[0]], self.other[b[0]] = b[0], a[0]
        # A comma has another form only before these: it also stands in answers.
        self.comma = {corpus.tokenizer.token_to_id(sign) for sign in ",;"}
        self.after_comma = {corpus.tokenizer.token_to_id(f"Ġ{word}") for word in ("then", "next", "so", "thus")}

    # --- Drafts

    def source(self):
        document, rng = self.corpus.draw(), self.corpus.rng
        starts = [block * BLOCK for block in document.answer_blocks]
        return Shown(document, [self.draft(document, start) for start in rng.sample(starts, min(len(starts), 3))])

    def draft(self, document, start):
        rng, kind = self.corpus.rng, self.corpus.rng.random()
        if kind < 0.4:  # every block starts as masks
            return noised(document, start, BLOCK, self.corpus, 1.0)
        if kind < 0.5:
            wrong = rng.choice((0.0, rng.uniform(0.0, 0.2)))
            return noised(document, start, BLOCK, self.corpus, rng.uniform(0.1, 0.9), wrong)
        return self.edited(document, start)

    def edited(self, document, start):
        """A window in which tokens were forgotten, added and made wrong, and some are masked."""
        rng = self.corpus.rng
        window = noised(document, start, BLOCK, self.corpus, 0.0)
        forgotten, added, wrong = (rng.choice((0.0, 0.02, 0.06)) for _ in range(3))
        masked = rng.choice((0.0, 0.0, 0.2, 0.6))
        at = max(start, document.prompt)
        ids = document.ids[start:at]
        while len(ids) < BLOCK:
            target = document.ids[at] if at < len(document.ids) else self.corpus.eos
            at += 1
            chance = rng.random()
            if chance < forgotten:
                at += rng.choice((0, 0, 0, 1, 2))
                continue
            if chance < forgotten + added:
                at -= 1
                target = self.corpus.wrong(document, target)
            elif chance < forgotten + added + wrong:
                target = self.corpus.wrong(document, target)
            ids.append(self.corpus.mask if rng.random() < masked else target)
        return Window(start, ids, window.targets, window.weights)

    # --- Turns

    def batch(self, progress):
        for index in (self.turns == 0).nonzero().flatten().tolist():
            self.live.fill(index, self.packer.row())
            self.turns[index] = self.corpus.rng.choice(TURNS)
            self.thresholds[index] = torch.tensor(self.corpus.rng.choice(THRESHOLDS))
            targets = self.live.targets[index].tolist()
            self.wanted[index] = [self.right(a, b) for a, b in zip(targets, [*targets[1:], targets[-1]])]
        self.label()
        return self.live

    def right(self, target, after):
        """A token and its other wording, or the token where it has none."""
        free = target in self.other and (target not in self.comma or after in self.after_comma)
        return (target, self.other[target]) if free else target

    def generated(self, row):
        """Of each window of a row the slice that may be edited."""
        weights = self.live.weights[row].tolist()
        for end in range(BLOCK, self.width + 1, BLOCK):
            if weights[end - 1]:
                yield slice(next(i for i in range(end - BLOCK, end) if weights[i]), end)

    def label(self):
        """What each token of each draft shall become, and how much that counts."""
        batch = self.live
        for row in range(self.rows):
            ids, weights = batch.ids[row].tolist(), batch.weights[row].tolist()
            for part in self.generated(row):
                made, places = levenshtein.labels(
                    ids[part], self.wanted[row][part], self.corpus.mask, self.delete, self.insert
                )
                self.labels[row, part] = torch.tensor(made)
                self.label_weights[row, part] = torch.tensor([weights[part.start + place] for place in places])

    def loss(self, model, batch):
        wanted = batch.wanted()
        logits = model(batch.ids, batch.positions, batch.attention(), wanted)
        ids, labels, weights = batch.ids[wanted], self.labels[wanted], self.label_weights[wanted]
        losses, answer = F.cross_entropy(logits, labels, reduction="none"), weights == 1
        keep, delete, insert = ids == labels, labels == self.delete, labels == self.insert
        masked = (ids == self.corpus.mask) & ~delete & ~insert
        kinds = {
            "masked": masked,
            "keep": keep,
            "substitute": ~masked & ~keep & ~delete & ~insert,
            "delete": delete,
            "insert": insert,
        }
        shown = {name: (losses.detach()[kind & answer].sum(), (kind & answer).sum()) for name, kind in kinds.items()}
        weights = weights * torch.where(keep, KEEP, torch.where(delete | insert, MOVE, 1.0))
        loss = (losses * weights).sum() / weights.sum()
        self.advance(logits.detach(), wanted)
        return loss, shown

    def advance(self, logits, wanted):
        """The next turn: the draft that the 2.2 rule makes of this one."""
        batch = self.live
        confidence, prediction = torch.zeros(wanted.shape), batch.ids.clone()
        top = logits.softmax(-1).max(-1)
        confidence[wanted], prediction[wanted] = top.values, top.indices
        masked = wanted & (batch.ids == self.corpus.mask)
        # M2T above the threshold, at least the most confident masked position of each window.
        among = confidence.masked_fill(~masked, -1)
        best = among.unflatten(1, (-1, BLOCK)).amax(-1).repeat_interleave(BLOCK, 1)
        m2t = masked & ((confidence > self.thresholds[:, :1]) | (among == best))
        t2t = wanted & ~masked & (confidence > self.thresholds[:, 1:])
        written = torch.where(m2t | t2t, prediction, batch.ids)
        moving = (written == self.delete) | (written == self.insert)
        for row in moving.any(1).nonzero().flatten().tolist():
            for part in self.generated(row):
                if moving[row, part].any():
                    new, old = written[row, part].tolist(), batch.ids[row, part].tolist()
                    block = levenshtein.scanned(new, old, self.corpus.mask, self.delete, self.insert)
                    written[row, part] = torch.tensor(block)
        batch.ids = written
        self.turns -= 1


if __name__ == "__main__":
    training.main(Levenshtein())
