"""Stage 3: supervised fine-tuning -> 2.0. The prompt stays clean, and every noisy block comes with its complement (what
one masks the other shows), as in the 2.0 report; mask rates 0.3 to 0.8 as in dFactory, and whole blocks of masks, since
every block starts as one. Some windows are two blocks wide, some as wide as the answer.

    python stage3_sft.py --start runs/2-base/model --out runs/3-sft
"""

import torch.nn.functional as F

import training
from documents import BLOCK, Packer, Shown, Window, noised

ALL_MASKED = 0.3  # share of documents whose blocks are wholly masked
WIDTHS = (1, 1, 1, 1, 1, 1, 2, 0)  # blocks of a window; 0: all of the answer
SHOWN = 3  # blocks of a document that are noisy, at most
CLEAN = (BLOCK,) * 7 + (2 * BLOCK,)  # what sees each other of the text before them


def spans(rng, document, widths=WIDTHS):
    """[(start, length)] of the windows of a document: some of its blocks, or one wider window."""
    blocks, wide = list(document.answer_blocks), rng.choice(widths)
    if wide == 1 or len(blocks) == 1:
        return [(block * BLOCK, BLOCK) for block in rng.sample(blocks, min(SHOWN, len(blocks)))]
    wide = min(wide or len(blocks), len(blocks))
    return [(rng.choice(blocks[: len(blocks) - wide + 1]) * BLOCK, wide * BLOCK)]


class SFT(training.Stage):
    title = "Stage 3: supervised fine-tuning"
    minutes, decay = 50, 0.5

    def prepare(self, corpus):
        super().prepare(corpus)
        self.packer = Packer(self.source, self.width)

    def source(self):
        document, rng, windows = self.corpus.draw(), self.corpus.rng, []
        masked = 1.0 if rng.random() < ALL_MASKED else rng.uniform(0.3, 0.8)
        for start, length in spans(rng, document):
            window = noised(document, start, length, self.corpus, masked)
            windows.append(window)
            if masked < 1:
                windows.append(self.complement(document, window))
        return Shown(document, windows, rng.choice(CLEAN))

    def complement(self, document, window):
        """Shown what was masked, masked what was shown; the prompt aside."""
        ids = [
            target if noisy == self.corpus.mask or position < document.prompt else self.corpus.mask
            for position, (noisy, target) in enumerate(zip(window.ids, window.targets), window.start)
        ]
        return Window(window.start, ids, window.targets, window.weights)

    def batch(self, progress):
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
