"""Answers sampled from the model as it is, by our own library through its Python binding, and their rewards by
program."""

import contextlib
import itertools
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
GEN_LENGTH = 160


@dataclass
class Rollout:
    document: Document
    reward: float  # half for the answer, half for every worked step
    advantage: float  # against the other answers to the question, in standard deviations


@contextlib.contextmanager
def opened(model, corpus):
    """The model as it is, in our library."""
    with tempfile.TemporaryDirectory() as folder:
        training.export(model, corpus.tokenizer, folder, torch.float32)  # what is trained is what is sampled
        with llada.Model.load(folder, threads=1, progress=False) as engine:
            yield engine


def drafts(model, corpus, count, most):
    """[(document, the model's own answer to its question in S mode, as long as the document)]: what it leaves when
    nobody looks back. At most `most` of an answer is wrong: of others no token stands in its place."""
    found = []
    documents = [corpus.draw() for _ in range(count)]
    with opened(model, corpus) as engine:
        answers = engine.generate_many(
            [document.question.text for document in documents],
            llada.Policy.speedy(),
            gen_length=GEN_LENGTH,
            progress=False,
        )
        for document, answer in zip(documents, answers):
            ids = document.ids[: document.prompt] + answer.tokens.tolist()
            ids = (ids + [corpus.eos] * len(document.ids))[: len(document.ids)]
            wrong = sum(a != b for a, b in zip(ids, document.ids))
            if wrong <= most * (document.end - document.prompt):
                found.append((document, ids))
    return found


def rollouts(model, corpus, questions, samples):
    """`samples` answers to each of `questions` training questions. Questions whose answers all earned the same teach
    nothing: left out.

    Returns (rollouts in groups by question, mean reward of all)."""
    groups, rewards = [], []
    with opened(model, corpus) as engine:
        asked = [corpus.draw().question for _ in range(questions)]
        answers = iter(
            engine.generate_many(
                [question.text for question in asked for _ in range(samples)],
                [POLICY.replace(seed=corpus.rng.getrandbits(63)) for _ in range(questions * samples)],
                gen_length=GEN_LENGTH,
                progress=False,
            )
        )
        for question in asked:
            group = []
            for answer in itertools.islice(answers, samples):
                final, strict = tasks.check(question, answer.text)
                group.append(([t for t in answer.tokens.tolist() if t != corpus.eos], 0.5 * final + 0.5 * strict))
            earned = [reward for _, reward in group]
            rewards += earned
            spread = statistics.pstdev(earned)
            if spread > 0:
                mean = statistics.fmean(earned)
                groups.append([Rollout(corpus.document(question, ids), r, (r - mean) / spread) for ids, r in group])
    return groups, statistics.fmean(rewards)
