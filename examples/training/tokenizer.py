"""Builds tokenizer.json: byte-level BPE laid out as Ling and LLaDA2 ship it (docs/spec/text.md), with a small
vocabulary.

Merges are trained on questions and answers until each word of their language is one token; digits are single tokens by
the pre-tokeniser's pattern: many tasks are about digits, the model has to see them.
"""

import json
import random
import re
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import tasks

# Ling's pattern, with the possessive quantifiers of docs/spec/text.md.
PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
SPECIALS = ("<|startoftext|>", "<|endoftext|>", "<|mask|>", "<role>", "</role>", "<|role_end|>")
EDITS = ("<|delete|>", "<|split|>")  # what 2.2 writes to drop a token, or to put a mask before it
VOCAB_SIZE = 1088  # an upper bound: training stops when every word is one token

CHAT_TEMPLATE = (Path(__file__).parents[2] / "bindings/python/llada/chat_template.jinja").read_text()


def chat(question):
    """The literal prompt of docs/spec/text.md."""
    system = "<role>SYSTEM</role>detailed thinking off<|role_end|>"
    return f"{system}<role>HUMAN</role>{question}<|role_end|><role>ASSISTANT</role>"


def corpus():
    """Questions and answers of every family, digits aside, and the fixed words of the prompt."""
    rng = random.Random(0)
    for family in tasks.FAMILIES:
        for _ in range(3000):
            question = tasks.draw(rng, "train", family)
            for text in (question.text, question.worked):
                yield re.sub(r"\d", "0", text)
    yield from ("detailed thinking off", "SYSTEM", "HUMAN", "ASSISTANT")


def empty_tokenizer(bpe):
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def build():
    tokenizer = empty_tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    add_special(tokenizer, SPECIALS)
    return tokenizer


def add_special(tokenizer, tokens):
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in tokens])


def load(folder):
    return Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


def save(tokenizer, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "mask_token": "<|mask|>",
                "add_bos_token": False,
                "add_eos_token": False,
                "clean_up_tokenization_spaces": False,
                "model_max_length": 4096,
                "chat_template": CHAT_TEMPLATE,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    built = build()
    print(built.get_vocab_size(), "tokens")
    for sample in (chat("What is 347 plus 586?"), "7+6=13, 4+8+1=13, 3+5+1=9. Answer: 933"):
        print(built.encode(sample).tokens)
