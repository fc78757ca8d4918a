"""Stage 2: from autoregression to block diffusion by the WSD schedule of block sizes (2.0 report, section on continual
pre-training): warm-up 1, 4, 32, whole document; stable there (a masked diffusion model: one window, nothing clean);
decay 64, 32. Larger blocks stay in the mixture: a window of two blocks, or of all, is to be something the model knows.

    python stage2_block_diffusion.py --start runs/1-ar/model --out runs/2-base
"""

import torch.nn.functional as F

import training
from documents import LONGEST, Packer, Shown, noised
from stage1_autoregressive import PROMPT

# (share of the time, block sizes in turn)
SCHEDULE = (
    (0.08, (1,)),
    (0.08, (4,)),
    (0.14, (32,)),
    (0.30, (LONGEST,)),
    (0.15, (64,)),
    (0.25, (32, 32, 64, 32, 32, LONGEST)),
)


def block_sizes(progress):
    for share, sizes in SCHEDULE:
        if progress < share:
            return sizes
        progress -= share
    return SCHEDULE[-1][1]


class BlockDiffusion(training.Stage):
    title = "Stage 2: block diffusion base (WSD)"
    minutes, decay = 22, 0.0
    rows = 8

    def prepare(self, corpus):
        super().prepare(corpus)
        self.packers, self.turn, self.size = {}, 0, 0

    def source(self):
        """A document with every block noisy once. Half of the documents keep their prompt, in the others it is masked
        like the rest."""
        document, rng = self.corpus.draw(), self.corpus.rng
        prompt_too, windows = rng.random() < 0.5, []
        whole = min(self.size, len(document.ids))
        first = 0 if prompt_too else document.prompt // whole * whole
        for start in range(first, document.end, whole):
            masked = 1.0 if rng.random() < 0.15 else rng.uniform(0.1, 1.0)
            window = noised(document, start, whole, self.corpus, masked, prompt_too=prompt_too)
            if prompt_too:
                window.weights = [w or PROMPT for w in window.weights]
            windows.append(window)
        return Shown(document, windows, self.size)

    def batch(self, progress):
        sizes = block_sizes(progress)
        self.size, self.turn = sizes[self.turn % len(sizes)], self.turn + 1
        return self.packers.setdefault(self.size, Packer(self.source, self.width)).batch(self.rows)

    def loss(self, model, batch):
        batch.weights *= batch.ids == self.corpus.mask
        wanted = batch.wanted()
        logits = model(batch.ids, batch.positions, batch.attention(), wanted)
        losses, weights = F.cross_entropy(logits, batch.targets[wanted], reduction="none"), batch.weights[wanted]
        answer = weights == 1
        return (losses * weights).sum() / weights.sum(), {
            f"masked, blocks of {self.size}": (losses.detach()[answer].sum(), answer.sum())
        }


if __name__ == "__main__":
    training.main(BlockDiffusion())
