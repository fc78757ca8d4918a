"""Makes Tests/Fixtures/text: small byte-level BPE tokenizers, and strings with the ids of an independent judge.

The judge is Hugging Face `tokenizers` (pip install tokenizers); made with 0.23.3 and CPython 3.11. The corpus is
synthetic and from the standard library's sources; only the vocabularies derived from it are kept.

NAME.bin is a sequence of records of five fields, each with its length (u32, little endian) before it: the text, the ids
with special tokens interpreted (LEB128), the ids with them as text, the text decoded from the former, and that without
special tokens. The third, fourth and fifth are empty if equal to the second, first and fourth, else they begin with
"!". nfc.bin has records of two such fields: a text and its form C.
"""

import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).parent
LING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

SCRIPTS = [  # first and last scalar of a run of letters
    (0x61, 0x7A),
    (0xDF, 0x17F),
    (0x3B1, 0x3C9),
    (0x410, 0x44F),
    (0x531, 0x556),
    (0x5D0, 0x5EA),
    (0x620, 0x64A),
    (0x904, 0x939),
    (0x985, 0x9B9),
    (0xE01, 0xE2E),
    (0x10D0, 0x10F0),
    (0x1100, 0x1112),
    (0x1E00, 0x1EFF),
    (0x3041, 0x3096),
    (0x30A1, 0x30FA),
    (0x4E00, 0x4F00),
    (0xAC00, 0xAD00),
    (0x10400, 0x1044F),
    (0x1D400, 0x1D433),
    (0x20000, 0x20080),
]
SPACES = [
    " ",
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    "\u00a0",
    "\u1680",
    "\u2003",
    "\u2028",
    "\u3000",
    "\x0b",
    "\x0c",
    "\x85",
    "\u200b",
    "\ufeff",
    "   \n  ",
    "\x1c",
    "\u180e",
]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "✈", "1️⃣", "🧑🏿‍🚀", "\U0001fae8"]
CODE = [
    "def f(x):\n    return x ** 2\n",
    "for (int i=0;i<n;++i){a[i]+=b[i];}",
    '{"a": [1, 2.5e-3, null]}',
    "x != y && !z",
    "SELECT * FROM t WHERE id='7';",
    '<div class="a">it\'s</div>',
    "\\frac{a}{b}",
    "std::vector<int>",
    "a->b",
    "//---",
    "===",
]
WORDS = [
    "it's",
    "I'LL",
    "we'Ve",
    "you're",
    "'ſ",
    "don'T",
    "O'Reilly",
    "'tis",
    "naïve",
    "nai\u0308ve",
    "Å",
    "Å",
    "A\u030a",
    "e\u0301\u0323",
    "ﬁn",
    "ß",
    "İ",
    "K",
    "the",
    "of",
    "and",
    "diffusion",
    "tokenizer",
    "Straße",
    "中文",
    "日本語",
    "한국어",
    "한",
    "각ᆨ",
    "ไทย",
    "हिन्दी",
    "العربية",
    "עברית",
    "²",
    "½",
    "Ⅷ",
    "٣",
    "１２",
    "12345678",
    "3.14159",
    "0x1F",
    "U+1F600",
]
ADDED = [
    "<|mask|>",
    "<|endoftext|>",
    "<role>",
    "</role>",
    "<|role_end|>",
    "<|start|>",
    "<|",
    "|>",
    "<ro",
    "le>",
    "[TAG]",
    "[TAG",
    "<left>",
    " <left> ",
    "<right>",
    "<right>  x",
    "word",
    "sword",
    "word ",
    "naïve\u0301",
    "Ångström",
    "A\u030angstro\u0308m",
]


def word(rng):
    low, high = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9)))


def scalar(rng):
    while True:
        code = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x110000)])
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)


MARKS = [c for c in range(0x300, 0x20000) if unicodedata.combining(chr(c))]


def text(rng):
    parts = []
    for _ in range(rng.choice([1, 1, 2, 3, 4, 6, 9])):
        kind = rng.random()
        if kind < 0.25:
            parts.append(rng.choice(WORDS))
        elif kind < 0.42:
            parts.append(word(rng))
        elif kind < 0.60:
            parts.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3]))
        elif kind < 0.68:
            parts.append(rng.choice(ADDED))
        elif kind < 0.73:
            parts.append(rng.choice(EMOJI))
        elif kind < 0.78:
            parts.append(rng.choice(CODE))
        elif kind < 0.86:
            parts.append("".join(scalar(rng) for _ in range(rng.randint(1, 5))))
        elif kind < 0.92:
            parts.append(rng.choice("aAeoωЖ가ᄀक") + "".join(chr(rng.choice(MARKS)) for _ in range(rng.randint(1, 5))))
        elif kind < 0.96:
            parts.append("".join(rng.choice("'\"!?.,;:()[]{}<>|/\\-_=+*&^%$#@~` \n") for _ in range(rng.randint(1, 8))))
        elif kind < 0.98:
            parts.append(str(rng.randrange(10 ** rng.randint(1, 12))))
        else:
            parts.append(rng.choice(["a", " ", "\n", "é", "=", "1", "\u0301", "中", "ab "]) * rng.randint(5, 120))
        if rng.random() < 0.3:
            parts.append(" ")
    return "".join(parts)


def broken(rng, value):
    """The bytes of the string with some of them damaged."""
    data = bytearray(value.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.5 and at < len(data):
            del data[at]
        else:
            data[at:at] = bytes(
                rng.choice(
                    [
                        [0xFF],
                        [0xC3],
                        [0xE2, 0x82],
                        [0xF0, 0x9F],
                        [0xED, 0xA0, 0x80],
                        [0x80],
                        [0xC0, 0xAF],
                        [0xF4, 0x90, 0x80, 0x80],
                        [0xE0, 0x9F],
                    ]
                )
            )
    return bytes(data)


def corpus(rng):
    yield from (" ".join([rng.choice(WORDS), word(rng), rng.choice(CODE)]) for _ in range(3000))
    library = pathlib.Path(json.__file__).parents[1]
    for path in sorted(library.glob("*.py"))[:60]:
        yield path.read_text(errors="replace")[:20000]
    frequent = [[word(rng) for _ in range(12)] for _ in range(60)]
    yield from (" ".join(rng.choice(rng.choice(frequent)) for _ in range(40)) for _ in range(800))


def tokenizer(name, pre, normalizer, size, added, legacy=False, ignore_merges=False):
    result = Tokenizer(models.BPE())
    result.pre_tokenizer, result.decoder = pre, decoders.ByteLevel()
    if normalizer:
        result.normalizer = normalizer
    result.train_from_iterator(
        corpus(random.Random(5)),
        trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
        ),
    )
    result.add_tokens(added)
    value = json.loads(result.to_str())
    if legacy:
        value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]
    if ignore_merges:
        value["model"]["ignore_merges"] = True
        value["model"]["merges"] = [m for i, m in enumerate(value["model"]["merges"]) if i % 7]
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return name, data, Tokenizer.from_str(data)


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def tokenizers():
    control = [
        AddedToken(t, special=True, normalized=False)
        for t in [
            "<|startoftext|>",
            "<|endoftext|>",
            "[CLS]",
            "[gMASK]",
            "<|mask|>",
            "<role>",
            "</role>",
            "<|role_end|>",
        ]
    ]
    odd = [
        AddedToken("[TAG]", normalized=True),
        AddedToken("[TAG]more", normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, special=True, normalized=False),
        AddedToken("word", single_word=True, normalized=True),
        AddedToken("Ångström", normalized=True),
        AddedToken("A\u030angstro\u0308m", normalized=False),
        AddedToken("naïve", single_word=True, normalized=False),
    ]
    byte_level = pre_tokenizers.ByteLevel
    yield tokenizer("ling", split(LING), normalizers.NFC(), 4000, control)
    yield tokenizer("gpt2", byte_level(add_prefix_space=False), None, 2000, control[:2], legacy=True)
    yield tokenizer(
        "odd", split(LLAMA3), normalizers.Sequence([normalizers.NFC()]), 1500, control + odd, ignore_merges=True
    )
    chain = [
        pre_tokenizers.Split("--", "isolated"),
        pre_tokenizers.Split(Regex(O200K), "isolated"),
        byte_level(add_prefix_space=True),
    ]
    yield tokenizer("prefix", pre_tokenizers.Sequence(chain), None, 1200, odd)


def leb(values):
    out = bytearray()
    for value in values:
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def framed(data):
    return len(data).to_bytes(4, "little") + data


def decoded(judge, ids, skip):
    """The judge's text, with added tokens as their own text: 0.23.3 takes letters of the byte alphabet in them for
    bytes, which later versions do not."""
    added, text, run = judge.get_added_tokens_decoder(), "", []
    for token in [*ids, None]:
        if token is not None and token not in added:
            run.append(token)
            continue
        text, run = text + judge.decode(run), []
        if token is not None and not (skip and added[token].special):
            text += judge.id_to_token(token)
    return text


def record(judge, data):
    value = data.decode(errors="replace")
    judge.encode_special_tokens = False
    ids = judge.encode(value, add_special_tokens=False).ids
    judge.encode_special_tokens = True
    plain = judge.encode(value, add_special_tokens=False).ids
    fields = [data, leb(ids), leb(plain), *(decoded(judge, ids, skip).encode() for skip in (False, True))]
    alike = {2: 1, 3: 0, 4: 3}  # most fields equal an earlier one, and are left out then
    return b"".join(
        framed(f) if i not in alike else framed(b"" if f == fields[alike[i]] else b"!" + f)
        for i, f in enumerate(fields)
    )


def main(count):
    OUT.mkdir(exist_ok=True)
    for index, (name, data, judge) in enumerate(tokenizers()):
        (OUT / f"{name}.json").write_text(data)
        rng, records = random.Random(index), bytearray()
        for number in range(count):
            value = text(rng)
            records += record(judge, broken(rng, value) if number % 8 == 7 else value.encode())
        (OUT / f"{name}.bin").write_bytes(records)
        print(name, judge.get_vocab_size(), len(data), len(records))
    rng, nfc, records = random.Random(9), normalizers.NFC(), bytearray()
    for _ in range(count):
        value = "".join(
            chr(rng.choice(MARKS)) if rng.random() < 0.5 else scalar(rng) for _ in range(rng.randint(1, 12))
        )
        records += framed(value.encode()) + framed(nfc.normalize_str(value).encode())
    (OUT / "nfc.bin").write_bytes(records)
    print("nfc", len(records))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2600)
