"""Stage 1: an autoregressive base, which the papers start from. Next-token prediction over whole documents.

python stage1_autoregressive.py --out runs/1-ar
"""

import torch.nn.functional as F

import training
from documents import Batch, Row

PROMPT = 0.1  # weight of the prompt's tokens: mostly random names and numbers


class Autoregressive(training.Stage):
    title = "Stage 1: autoregressive base"
    minutes, decay = 12, 0.0
    rows = 8

    def batch(self, progress):
        batch, waiting = Batch(self.rows, self.width), self.corpus.draw()
        for i in range(self.rows):
            row = Row(self.width)
            while row.fits(waiting.end - 1):
                # Each token is its own clean window, so the mask is the causal one; position i predicts token i + 1.
                ids = waiting.ids[: waiting.end]
                for p in range(len(ids) - 1):
                    row.put(ids[p : p + 1], ids[p + 1 : p + 2], [waiting.weight(p + 1) or PROMPT], p, True)
                row.documents += 1
                waiting = self.corpus.draw()
            batch.fill(i, row)
        return batch

    def loss(self, model, batch):
        wanted = batch.wanted()
        logits = model(batch.ids, batch.positions, batch.attention(), wanted)
        losses, weights = F.cross_entropy(logits, batch.targets[wanted], reduction="none"), batch.weights[wanted]
        answer = weights == 1
        return (losses * weights).sum() / weights.sum(), {"answer": (losses.detach()[answer].sum(), answer.sum())}


if __name__ == "__main__":
    training.main(Autoregressive())
