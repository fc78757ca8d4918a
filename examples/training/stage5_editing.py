"""Stage 5: the M2T + T2T mixture with multi-turn forward -> 2.1 (spec/training.md, "2.1 mixture", "MTF").

Two streams in one: masks to fill (M2T) and wrong tokens to put right (T2T). A row lives for a few turns: after each its
noisy windows become the model's own next draft, written by the 2.1 rule (decoding.md section 2) at thresholds like
those of S and Q mode, with the targets left as they are. Some windows are two blocks wide, for multiple block editing
looks at two blocks at once.

    python stage5_editing.py --start runs/3-sft/model --out runs/5-editing
"""

import torch
import torch.nn.functional as F

import tasks
import training
from documents import BLOCK, Batch, Packer, noised

KEEP = 0.3  # weight of a visible token that is right: S mode rewrites whatever the model doubts
TURNS = (1, 2, 3, 4, 5)
THRESHOLDS = ((0.5, 0.0), (0.5, 0.0), (0.5, 0.0), (0.3, 0.0), (0.0, 0.0), (0.7, 0.5))  # (threshold, editing threshold)
WIDE = 0.45  # share of documents of two or more blocks that show two of them as one window


def noise(rng):
    """(share masked, share of the rest made wrong)."""
    kind = rng.random()
    if kind < 0.45:  # every block starts as masks
        return 1.0, 0.0
    if kind < 0.75:
        return rng.uniform(0.1, 0.9), rng.choice((0.0, rng.uniform(0.0, 0.2)))
    return 0.0, rng.uniform(0.02, 0.4)


class Editing(training.Stage):
    title = "Stage 5: M2T + T2T with multi-turn forward"
    steps, lr, decay = 3600, 4e-3, 0.5
    rows = 8

    def prepare(self, corpus):
        super().prepare(corpus)
        self.packer = Packer(self.source, self.width, BLOCK)
        self.live = Batch(self.rows, self.width)
        self.turns = torch.zeros(self.rows, dtype=torch.long)
        self.thresholds = torch.zeros(self.rows, 2)
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
        document, rng = self.corpus.draw(), self.corpus.rng
        starts = [block * BLOCK for block in document.answer_blocks]
        wide = len(starts) > 1 and rng.random() < WIDE
        some = rng.sample(starts, min(len(starts), 1 if wide else 3))
        windows = [noised(document, start, BLOCK, self.corpus, *noise(rng)) for start in some]
        if wide:
            # The first of two blocks is a draft, right but for a few tokens; the second is one too, or still to be
            # written. Masks in both become drafts within a turn or two.
            start, kind, draft = rng.choice(starts[:-1]), rng.random(), (0.0, rng.uniform(0.0, 0.2))
            first, second = (
                (draft, noise(rng))
                if kind < 0.5
                else (draft, draft)
                if kind < 0.8
                else ((rng.uniform(0.3, 1.0), 0.0),) * 2
            )
            windows.append(
                noised(document, start, BLOCK, self.corpus, *first)
                + noised(document, start + BLOCK, BLOCK, self.corpus, *second)
            )
        return document, windows

    def batch(self, step):
        for index in (self.turns == 0).nonzero().flatten().tolist():
            self.live.fill(index, self.packer.row())
            self.turns[index] = self.corpus.rng.choice(TURNS)
            self.thresholds[index] = torch.tensor(self.corpus.rng.choice(THRESHOLDS))
        return self.live

    def loss(self, model, batch):
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
        # Of two wordings the one the draft has is as right as the one the document had.
        free = ~torch.isin(batch.targets, self.comma) | torch.isin(batch.targets.roll(-1, 1), self.after_comma)
        other = wanted & free & (batch.ids == self.synonym[batch.targets])
        batch.targets = torch.where(other, batch.ids, batch.targets)
        self.turns -= 1


if __name__ == "__main__":
    training.main(Editing())
