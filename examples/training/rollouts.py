"""Answers sampled from the model as it is, by our own library through its Python binding, and their rewards by
program."""

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

import tasks
import training
from documents import Document

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))
import llada  # noqa: E402

# S mode's threshold, so that what is rewarded is what S mode writes. Sampled edits need some confidence, or they would
# never come to rest.
POLICY = llada.Policy.joint_threshold(threshold=0.5, editing_threshold=0.5, temperature=1.5)
GEN_LENGTH = 96


@dataclass
class Rollout:
    document: Document
    reward: float  # half for the answer, half for every worked step
    advantage: float  # against the other answers to the question, in standard deviations


def rollouts(model, corpus, questions, samples):
    """`samples` answers to each of `questions` training questions. Questions whose answers all earned the same teach
    nothing: left out.

    Returns (rollouts in groups by question, mean reward of all)."""
    groups, rewards = [], []
    with tempfile.TemporaryDirectory() as folder:
        training.export(model, corpus.tokenizer, folder, torch.float32)  # what is trained is what is sampled
        with llada.Model.load(folder, threads=1, progress=False) as engine:
            for _ in range(questions):
                question = corpus.draw().question
                group = []
                for _ in range(samples):
                    answer = engine.generate(
                        question.text, POLICY.replace(seed=corpus.rng.getrandbits(63)), gen_length=GEN_LENGTH
                    )
                    final, strict = tasks.check(question, answer.text)
                    group.append(([t for t in answer.tokens.tolist() if t != corpus.eos], 0.5 * final + 0.5 * strict))
                earned = [reward for _, reward in group]
                rewards += earned
                spread = statistics.pstdev(earned)
                if spread > 0:
                    mean = statistics.fmean(earned)
                    groups.append([Rollout(corpus.document(question, ids), r, (r - mean) / spread) for ids, r in group])
    return groups, statistics.fmean(rewards)
