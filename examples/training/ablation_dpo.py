"""Ablation: direct preference optimisation with the ELBO in place of the log-likelihood (spec/training.md, "DPO"), on
pairs of a right and a wrong answer of the model's own to one question. It starts where stage 6 starts and is compared
with it.

    python ablation_dpo.py --start runs/5-editing/model --out runs/6-dpo
"""

import copy

import torch
import torch.nn.functional as F

import training
from documents import BLOCK, Batch, Row, Shown, noised
from rollouts import rollouts

QUESTIONS, SAMPLES = 24, 4
BETA = 0.1


class DPO(training.Stage):
    title = "Ablation: DPO with the ELBO"
    minutes, lr, warmup, decay = 6, 3e-4, 0.05, 0.5
    rows = 6  # pairs: rows 2i and 2i+1 hold the better and the worse answer to a question

    def prepare(self, corpus):
        super().prepare(corpus)
        self.pairs, self.reference = [], None

    def batch(self, progress):
        return None  # rollouts need the model: see loss

    def window_row(self, document, masked):
        """One Monte-Carlo sample of the ELBO: mask rate t on every block, weight 1/t."""
        row = Row(self.width)
        windows = [noised(document, b * BLOCK, BLOCK, self.corpus, masked) for b in document.answer_blocks]
        for w in windows:
            w.weights = [(x == self.corpus.mask and p < document.end) / masked for p, x in enumerate(w.ids, w.start)]
        if row.fits((shown := Shown(document, windows)).tokens):
            row.add(shown)
            return row
        return None

    def elbo(self, model, batch):
        """[rows]"""
        log_p, wanted = batch.log_likelihoods(model)
        return torch.zeros(batch.rows).index_add(0, wanted.nonzero()[:, 0], log_p * batch.weights[wanted])

    def loss(self, model, _):
        shown = {}
        if self.reference is None:
            self.reference = copy.deepcopy(model).eval()
        if len(self.pairs) < self.rows // 2:
            groups, reward = rollouts(model, self.corpus, QUESTIONS, SAMPLES)
            shown["reward"] = (reward, 1)
            for group in groups:
                self.pairs.append(
                    (max(group, key=lambda r: r.reward).document, min(group, key=lambda r: r.reward).document)
                )
        batch, index = Batch(self.rows, self.width), 0
        while index < self.rows and self.pairs:
            masked = self.corpus.rng.uniform(0.1, 1.0)
            pair = [self.window_row(document, masked) for document in self.pairs.pop()]
            if all(pair):
                for row in pair:
                    batch.fill(index, row)
                    index += 1
        if not index:  # too few questions earned different rewards
            return 0.0 * sum(p.sum() for p in model.parameters()), shown
        with torch.no_grad():
            reference = self.elbo(self.reference, batch)
        margin = (self.elbo(model, batch) - reference).view(-1, 2)[: index // 2]
        margin = BETA * (margin[:, 0] - margin[:, 1])
        shown["right order"] = ((margin > 0).sum(), len(margin))
        return -F.logsigmoid(margin).mean(), shown


if __name__ == "__main__":
    training.main(DPO())
