"""Stage 3: supervised fine-tuning -> 2.0. The prompt stays clean, and every noisy block comes with its complement (what
one masks the other shows), as in the 2.0 report; mask rates 0.3 to 0.8 as in dFactory, and whole blocks of masks, since
every block starts as one.

    python stage3_sft.py --start runs/2-base/model --out runs/3-sft
"""

import torch.nn.functional as F

import training
from documents import BLOCK, Packer, Window, noised

ALL_MASKED = 0.3  # share of documents whose blocks are wholly masked


class SFT(training.Stage):
    title = "Stage 3: supervised fine-tuning"
    steps, decay = 5000, 0.5
    rows = 8

    def prepare(self, corpus):
        super().prepare(corpus)
        self.packer = Packer(self.source, self.width, BLOCK)

    def source(self):
        document, rng, windows = self.corpus.draw(), self.corpus.rng, []
        masked = 1.0 if rng.random() < ALL_MASKED else rng.uniform(0.3, 0.8)
        for block in rng.sample(document.answer_blocks, min(2, len(document.answer_blocks))):
            window = noised(document, block * BLOCK, BLOCK, self.corpus, masked)
            windows.append(window)
            if masked < 1:
                windows.append(self.complement(document, window))
        return document, windows

    def complement(self, document, window):
        """Shown what was masked, masked what was shown; the prompt aside."""
        ids = [
            target if noisy == self.corpus.mask or position < document.prompt else self.corpus.mask
            for position, (noisy, target) in enumerate(zip(window.ids, window.targets), window.start)
        ]
        return Window(window.start, ids, window.targets, window.weights)

    def batch(self, step):
        return self.packer.batch(self.rows)

    def masked(self, model, batch):
        """(logits, targets, weights) of the masked positions."""
        batch.weights *= batch.ids == self.corpus.mask
        wanted = batch.wanted()
        return (
            model(batch.ids, batch.positions, batch.attention(), wanted),
            batch.targets[wanted],
            batch.weights[wanted],
        )

    def loss(self, model, batch):
        logits, targets, weights = self.masked(model, batch)
        losses, answer = F.cross_entropy(logits, targets, reduction="none"), weights == 1
        return (losses * weights).sum() / weights.sum(), {"masked": (losses.detach()[answer].sum(), answer.sum())}


if __name__ == "__main__":
    training.main(SFT())
