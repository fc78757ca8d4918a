"""Stage 5: the M2T + T2T mixture with multi-turn forward -> 2.1 (spec/training.md, "2.1 mixture", "MTF").

Two streams in one: masks to fill (M2T) and wrong tokens to put right (T2T). A row lives for a few turns: after each its
noisy windows become the model's own next draft, written by the 2.1 rule (decoding.md section 2) at thresholds like
those of S and Q mode, with the targets left as they are.

What is wrong comes from three places: random corruption, drafts that the model has just written, in these turns or as
whole answers by our library, and stale drafts, which stand in the text before a window and cannot be mended there: what
follows is to be right all the same. Many windows are several blocks wide, most of them as multiple block editing sees
them: the blocks before are drafts, the last one is a draft or still to be written.

    python stage5_editing.py --start runs/3-sft/model --out runs/5-editing
"""

import torch
import torch.nn.functional as F

import tasks
import training
from documents import BLOCK, Batch, Packer, Shown, corrupted, noised
from rollouts import drafts
from stage3_sft import CLEAN, spans

KEEP = 0.3  # weight of a visible token that is right: S mode rewrites whatever the model doubts
TURNS = (1, 2, 3, 4, 5)
THRESHOLDS = ((0.5, 0.0), (0.5, 0.0), (0.5, 0.0), (0.3, 0.0), (0.0, 0.0), (0.7, 0.5))  # (threshold, editing threshold)
WIDTHS = (1, 1, 1, 1, 2, 2, 3, 0)  # blocks of a window; 0: all of the answer
OWN, STALE = 0.4, 0.35  # shares of documents with a whole draft of the model's own, and with a stale text before
DRAFTS, EVERY = 160, 0.08  # own drafts at a time, in each process, and the share of the time after which they are new
TOO_WRONG = 0.4  # of an own draft


def noise(rng):
    """(share masked, share of the rest made wrong)."""
    kind = rng.random()
    if kind < 0.45:  # every block starts as masks
        return 1.0, 0.0
    if kind < 0.75:
        return rng.uniform(0.1, 0.9), rng.choice((0.0, rng.uniform(0.0, 0.2)))
    return 0.0, rng.uniform(0.02, 0.4)


def wide_noise(rng, blocks):
    """The same of each block of a wide window."""
    kind, draft = rng.random(), (0.0, rng.uniform(0.0, 0.2))
    if kind < 0.45:
        return [draft] * blocks
    if kind < 0.85:
        return [draft] * (blocks - 1) + [noise(rng)]
    return [(rng.uniform(0.3, 1.0), 0.0)] * blocks


class Editing(training.Stage):
    title = "Stage 5: M2T + T2T with multi-turn forward"
    minutes, lr, decay = 45, 4e-3, 0.5

    def prepare(self, corpus):
        super().prepare(corpus)
        self.packer = Packer(self.source, self.width)
        self.live = Batch(self.rows, self.width)
        self.turns, self.fresh = torch.zeros(self.rows, dtype=torch.long), torch.ones(self.rows, dtype=torch.bool)
        self.thresholds = torch.zeros(self.rows, 2)
        self.drafts, self.next_drafts = [], 0.0
        self.synonym = torch.arange(training.CONFIG["vocab_size"])
        # A comma has another form only before these: it also stands in answers.
        self.after_comma = torch.tensor(
            [corpus.tokenizer.token_to_id(f"Ġ{word}") for word in ("then", "next", "so", "thus")]
        )
        self.comma = torch.tensor([corpus.tokenizer.token_to_id(sign) for sign in ",;"])
        for word, other in tasks.WORDINGS.items():
            for space in ("", " "):
                a, b = (corpus.tokenizer.encode(space + w.strip()).ids for w in (word, other))
                if len(a) == len(b) == 1:
                    self.synonym[a[0]], self.synonym[b[0]] = b[0], a[0]

    def source(self):
        rng = self.corpus.rng
        document, draft = rng.choice(self.drafts) if self.drafts and rng.random() < OWN else (self.corpus.draw(), None)
        windows = [self.window(document, draft, *span) for span in spans(rng, document, WIDTHS)]
        stale = (draft or corrupted(document, self.corpus, rng.uniform(0.0, 0.2))) if rng.random() < STALE else None
        return Shown(document, windows, rng.choice(CLEAN), stale)

    def window(self, document, draft, start, length):
        rng, blocks = self.corpus.rng, length // BLOCK
        if draft and rng.random() < 0.5:  # as it is
            return noised(document, start, length, self.corpus, 0.0, draft=draft)
        parts = [
            noised(document, start + i * BLOCK, BLOCK, self.corpus, *each, draft=draft)
            for i, each in enumerate([noise(rng)] if blocks == 1 else wide_noise(rng, blocks))
        ]
        return sum(parts[1:], parts[0])

    def batch(self, progress):
        self.progress = progress
        for index in (self.turns == 0).nonzero().flatten().tolist():
            self.live.fill(index, self.packer.row())
            self.turns[index], self.fresh[index] = self.corpus.rng.choice(TURNS), True
            self.thresholds[index] = torch.tensor(self.corpus.rng.choice(THRESHOLDS))
        self.accept_wordings()
        return self.live

    def accept_wordings(self):
        """Of two wordings the one the draft has is as right as the one the document had."""
        batch = self.live
        free = ~torch.isin(batch.targets, self.comma) | torch.isin(batch.targets.roll(-1, 1), self.after_comma)
        other = free & (batch.ids == self.synonym[batch.targets])
        batch.targets = torch.where(other, batch.ids, batch.targets)

    def loss(self, model, batch):
        if self.progress >= self.next_drafts:
            self.drafts, self.next_drafts = drafts(model, self.corpus, DRAFTS, TOO_WRONG), self.progress + EVERY
        wanted = batch.wanted()
        logits = model(batch.ids, batch.positions, batch.attention(), wanted)
        ids, targets, weights = batch.ids[wanted], batch.targets[wanted], batch.weights[wanted]
        losses, right, masked, answer = (
            F.cross_entropy(logits, targets, reduction="none"),
            ids == targets,
            ids == self.corpus.mask,
            weights == 1,
        )
        weights = weights * torch.where(right, KEEP, 1.0)
        shown = {
            name: (losses.detach()[kind & answer].sum(), (kind & answer).sum())
            for name, kind in (("masked", masked), ("wrong", ~masked & ~right), ("right", right))
        }
        shown |= self.shares(batch, wanted)
        loss = (losses * weights).sum() / weights.sum()
        self.advance(logits.detach(), wanted)
        return loss, shown

    def advance(self, logits, wanted):
        """The next turn: the draft that the 2.1 rule makes of this one."""
        batch = self.live
        confidence, prediction = torch.zeros(wanted.shape), batch.ids.clone()
        top = logits.softmax(-1).max(-1)
        confidence[wanted], prediction[wanted] = top.values, top.indices
        masked = wanted & (batch.ids == self.corpus.mask)
        # M2T above the threshold, at least the most confident masked position of each window.
        among = confidence.masked_fill(~masked, -1)
        window = batch.window.clamp(min=0)
        best = torch.full_like(among, -1).scatter_reduce(1, window, among, "amax").gather(1, window)
        m2t = masked & ((confidence > self.thresholds[:, :1]) | (among == best))
        t2t = wanted & ~masked & (confidence > self.thresholds[:, 1:])
        batch.ids = torch.where(m2t | t2t, prediction, batch.ids)
        self.turns -= 1
        self.fresh.fill_(False)

    def shares(self, batch, wanted):
        """Of all tokens of windows those that are wrong, by where that came from, and of the text before them."""
        wrong = wanted & (batch.ids != batch.targets) & (batch.ids != self.corpus.mask)
        fresh, count = self.fresh[:, None], wanted.sum()
        return {
            "share random": ((wrong & fresh & ~batch.own).sum(), count),
            "share own": ((wrong & fresh & batch.own).sum(), count),
            "share turns": ((wrong & ~fresh).sum(), count),
            "share stale": ((batch.clean & (batch.ids != batch.targets)).sum(), batch.clean.sum()),
        }


if __name__ == "__main__":
    training.main(Editing())
