"""Stage 6: ELBO-based block-level policy optimisation -> 2.1-RL (2.1 report eq. 4-5; spec/training.md, "EBPO").

Rewards come from programs (tasks.check), answers from our library. The likelihood ratio is estimated in one pass a time
step: the answer noised to that step stands beside its clean self, under the block-causal mask, and what counts is the
log-probability of the masked tokens of each block. Unpublished, chosen here: time steps are mask rates, one in each
half of (0, 1]; w_n weighs every masked token alike, so that rho is a mean per token; advantages are those of a group of
answers to one question.

    python stage6_ebpo.py --start runs/5-editing/model --out runs/6-ebpo
"""

import torch

import training
from documents import BLOCK, Batch, Row, Shown, noised
from rollouts import rollouts

QUESTIONS, SAMPLES = 24, 8  # of a round of rollouts, in each process
TIME_STEPS = 2
EPS_LOW, EPS_HIGH = 0.1, 0.15  # of the clipping; rho is a mean per token, so it moves little


class EBPO(training.Stage):
    title = "Stage 6: EBPO"
    minutes, lr, warmup, decay = 14, 5e-4, 0.05, 0.7
    rows = 10

    def prepare(self, corpus):
        super().prepare(corpus)
        self.waiting = []  # batches of the last round, with the log-probabilities of the model that wrote it

    def batch(self, progress):
        return None  # rollouts need the model: see loss

    def noisy_rows(self, rollout):
        """The rollout at each time step, as a row with its clean blocks."""
        document, rng = rollout.document, self.corpus.rng
        for n in range(TIME_STEPS):
            masked = (n + rng.random()) / TIME_STEPS
            windows = [noised(document, b * BLOCK, BLOCK, self.corpus, masked) for b in document.answer_blocks]
            for w in windows:
                w.weights = [float(x == self.corpus.mask and p < document.end) for p, x in enumerate(w.ids, w.start)]
            shown = Shown(document, windows)
            if any(map(sum, (w.weights for w in windows))) and Row(self.width).fits(shown.tokens):
                yield shown

    def round(self, model):
        groups, reward = rollouts(model, self.corpus, QUESTIONS, SAMPLES)
        items = [(r, list(self.noisy_rows(r))) for group in groups for r in group]
        self.corpus.rng.shuffle(items)
        batch, row, index = Batch(self.rows, self.width), Row(self.width), 0
        batch.rollout, batch.advantages = torch.zeros(self.rows, self.width, dtype=torch.long), []
        owners = []
        for rollout, noisy in items:
            batch.advantages.append(rollout.advantage)
            for item in noisy:
                if not row.fits(item.tokens):
                    self.finish_row(batch, index, row, owners)
                    row, owners, index = Row(self.width), [], index + 1
                    if index == self.rows:
                        self.waiting.append(batch)
                        batch, index = Batch(self.rows, self.width), 0
                        batch.rollout, batch.advantages = (
                            torch.zeros(self.rows, self.width, dtype=torch.long),
                            [rollout.advantage],
                        )
                row.add(item)
                owners.append(len(batch.advantages) - 1)
        # What does not fill a batch is left out: every step has the same size.
        with torch.no_grad():
            for batch in self.waiting:
                batch.advantages = torch.tensor(batch.advantages)
                batch.old = self.log_likelihood(model, batch)
        return reward

    def finish_row(self, batch, index, row, owners):
        batch.fill(index, row)
        batch.rollout[index] = torch.tensor(owners + [0])[batch.document[index]]

    def log_likelihood(self, model, batch):
        """[rollouts]: the mean over time steps and masked tokens of log p(token | its block's noisy rest, the clean
        blocks before)."""
        log_p, wanted = batch.log_likelihoods(model)
        zeros, owner = torch.zeros(len(batch.advantages)), batch.rollout[wanted]
        return zeros.index_add(0, owner, log_p) / zeros.index_add(0, owner, torch.ones_like(log_p)).clamp(min=1)

    def loss(self, model, _):
        shown = {}
        if not self.waiting:
            shown["reward"] = (self.round(model), 1)
        if not self.waiting:  # too few questions earned different rewards
            return 0.0 * sum(p.sum() for p in model.parameters()), shown
        batch = self.waiting.pop()
        rho = (self.log_likelihood(model, batch) - batch.old).exp()
        clipped = rho.clamp(1 - EPS_LOW, 1 + EPS_HIGH)
        gain = torch.minimum(rho * batch.advantages, clipped * batch.advantages)
        shown["clipped"] = ((rho != clipped).sum(), len(rho))
        return -gain.mean(), shown


if __name__ == "__main__":
    training.main(EBPO())
