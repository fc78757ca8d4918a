"""Training documents, and how they are laid out for block diffusion (spec/training.md, "Concatenated mask").

One document is a prompt in the chat layout and its answer, filled up with <|endoftext|> to whole blocks. A row of a
batch packs several documents; of each it holds the clean blocks and any number of noisy *windows*, each a copy of one
block (or of a few neighbours). A token attends to its own window and to the clean tokens of its document that stand
before the window:

    query -> key   iff   same window, or the key is clean, of the same document and before the query's window

For clean tokens the window is their block. With windows of one token and nothing noisy this is the causal mask, with
the whole document as one noisy window it is bidirectional: one rule serves every stage.
"""

import random
from dataclasses import dataclass

import torch

import tasks
import tokenizer as tok

BLOCK = 32
LONGEST = 192  # tokens of a document, at most
AFTER_END = 0.1  # weight of the filling behind the first end of text


@dataclass
class Document:
    question: tasks.Question
    ids: list  # prompt, answer, <|endoftext|> up to a multiple of BLOCK
    prompt: int  # length of the prompt
    end: int  # length up to and including the first <|endoftext|>

    def weight(self, position):
        return 0.0 if position < self.prompt else 1.0 if position < self.end else AFTER_END

    @property
    def answer_blocks(self):
        return range(self.prompt // BLOCK, len(self.ids) // BLOCK)


class Corpus:
    """Endless training documents, and the tokens that wrong tokens are drawn from."""

    def __init__(self, tokenizer, seed):
        self.tokenizer, self.rng = tokenizer, random.Random(seed)
        self.eos, self.mask = (tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|mask|>"))
        self.digits = [tokenizer.token_to_id(c) for c in "0123456789"]

    def document(self, question, answer):
        """Of a question and the tokens of an answer, without the end of text."""
        prompt = self.tokenizer.encode(tok.chat(question.text)).ids
        ids = prompt + answer + [self.eos]
        return Document(question, ids + [self.eos] * (-len(ids) % BLOCK), len(prompt), len(ids))

    def draw(self):
        while True:
            question = tasks.draw(self.rng)
            document = self.document(question, self.tokenizer.encode(question.worked).ids)
            if len(document.ids) <= LONGEST:
                return document

    def wrong(self, document, target):
        """A wrong token, of the kind a model would write: another digit for a digit, else another word of the
        document."""
        if target in self.digits and self.rng.random() < 0.8:
            return self.rng.choice(self.digits)
        return self.rng.choice(document.ids)


@dataclass
class Window:
    """A noisy copy of ids[start : start + len(ids)] of a document."""

    start: int
    ids: list
    targets: list
    weights: list
    own: bool = False  # what is wrong in it was written by the model

    def __add__(self, after):
        """One window of two neighbours."""
        own = self.own or after.own
        return Window(self.start, self.ids + after.ids, self.targets + after.targets, self.weights + after.weights, own)


@dataclass
class Shown:
    """What a row holds of a document: the windows, and as many clean blocks (of `block` tokens) as the last of them
    looks back to. `before` stands in the clean blocks in place of the document: a stale draft, as decoding leaves it
    where a mistake was not seen in time."""

    document: Document
    windows: list
    block: int = BLOCK
    before: list | None = None

    @property
    def seen(self):
        return max(w.start for w in self.windows)

    @property
    def tokens(self):
        return self.seen + sum(len(w.ids) for w in self.windows)


class Row:
    """Tokens of several documents, packed. Columns: see Batch."""

    def __init__(self, width):
        self.width, self.columns, self.documents, self.windows = width, {k: [] for k in Batch.COLUMNS}, 0, 0

    def fits(self, tokens):
        return len(self.columns["ids"]) + tokens <= self.width

    def put(self, ids, targets, weights, start, clean, own=False):
        c, n = self.columns, len(ids)
        c["ids"] += ids
        c["targets"] += targets
        c["weights"] += weights
        c["positions"] += range(start, start + n)
        c["start"] += [start] * n
        c["clean"] += [clean] * n
        c["document"] += [self.documents] * n
        c["window"] += [self.windows] * n
        c["own"] += [own] * n
        self.windows += 1

    def add(self, shown):
        clean = shown.before or shown.document.ids
        for start in range(0, shown.seen, shown.block):
            part = slice(start, min(start + shown.block, shown.seen))
            ids = clean[part]
            self.put(ids, shown.document.ids[part], [0.0] * len(ids), start, True)
        for w in shown.windows:
            self.put(w.ids, w.targets, w.weights, w.start, False, w.own)
        self.documents += 1


class Batch:
    """Tensors [rows, width]."""

    COLUMNS = {
        "ids": torch.long,
        "targets": torch.long,
        "weights": torch.float,
        "positions": torch.long,
        "start": torch.long,
        "clean": torch.bool,
        "document": torch.long,
        "window": torch.long,
        "own": torch.bool,
    }

    def __init__(self, rows, width):
        self.rows, self.width = rows, width
        for name, kind in self.COLUMNS.items():
            setattr(self, name, torch.zeros(rows, width, dtype=kind))

    def fill(self, index, row):
        fill = {"document": -1, "window": -1}  # what is left over sees itself alone and weighs nothing
        for name, values in row.columns.items():
            column = getattr(self, name)[index]
            column.fill_(fill.get(name, 0))
            column[: len(values)] = torch.tensor(values, dtype=column.dtype)

    def attention(self):
        """[rows, width, width] bool: may the query (middle index) look at the key (last)?"""
        same = self.window[:, :, None] == self.window[:, None, :]
        before = self.clean[:, None, :] & (self.positions[:, None, :] < self.start[:, :, None])
        return same | (before & (self.document[:, :, None] == self.document[:, None, :]))

    def wanted(self):
        return self.weights > 0

    def log_likelihoods(self, model):
        """(log p of the targets, their places): [wanted], [rows, width] bool."""
        wanted = self.wanted()
        log_p = model(self.ids, self.positions, self.attention(), wanted).log_softmax(-1)
        return log_p.gather(1, self.targets[wanted][:, None])[:, 0], wanted


class Packer:
    """Rows filled from an endless source of what they are to show; what does not fit waits for the next row."""

    def __init__(self, source, width):
        self.source, self.width, self.waiting = source, width, []

    def row(self):
        row = Row(self.width)
        for shown in list(self.waiting):
            if row.fits(shown.tokens):
                row.add(shown)
                self.waiting.remove(shown)
        while len(self.waiting) < 4:
            shown = self.source()
            if row.fits(shown.tokens):
                row.add(shown)
            else:
                self.waiting.append(shown)
        return row

    def batch(self, rows):
        batch = Batch(rows, self.width)
        for i in range(rows):
            batch.fill(i, self.row())
        return batch


def noised(document, start, length, corpus, masked, wrong=0.0, prompt_too=False, draft=None):
    """One window with noise: each token of the answer is masked with probability `masked`; else, where there is no
    draft of the model's own to show, made wrong with probability `wrong`."""
    rng, ids = corpus.rng, []
    targets, shown = (text[start : start + length] for text in (document.ids, draft or document.ids))
    for position, token in enumerate(shown, start):
        if position >= document.prompt or prompt_too:
            if rng.random() < masked:
                token = corpus.mask
            elif draft is None and rng.random() < wrong:
                token = corpus.wrong(document, token)
        ids.append(token)
    weights = [document.weight(p) for p in range(start, start + len(targets))]
    return Window(start, ids, targets, weights, draft is not None)


def corrupted(document, corpus, wrong):
    """The document with some of its answer made wrong."""
    return noised(document, 0, len(document.ids), corpus, 0.0, wrong).ids
