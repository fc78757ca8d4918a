"""The language of questions and answers: words that may stand for each other, lists, greetings.

The wording of worked steps is free, as in any text: at each `then` the answer may as well say `next`. Each word and
sign of WORDINGS and its other form are one token each, so a choice moves nothing behind it. Whoever fills masks by
confidence has to settle each choice before going on: one at 85 % passes the thresholds of S and Q mode, but not 0.95;
one at 60 % passes that of S mode alone.
"""

import random
import re

WORDINGS = {
    "First": "Start",
    "then": "next",
    "gives": "makes",
    "so": "thus",
    "gets": "takes",
    "has": "owns",
    "Here": "Below",
    " + ": " plus ",
    " - ": " minus ",
    " * ": " times ",
    ", ": "; ",
}
PLAIN = {other: word for word, other in WORDINGS.items()}
FIRST = 0.85  # how often the first of two wordings is chosen
EVEN = {"then": 0.6}  # but for these
CHOICE = re.compile(r"[A-Za-z]+|(?<=\d) [-+*] (?=\d)|, (?=then|so)")
CHOSEN = re.compile(r" (?:plus|minus|times) |[A-Za-z]+|; ")


def worded(rng, steps):
    """Each word and sign of WORDINGS becomes its other form now and then, each on its own."""

    def choice(match):
        word = match[0]
        return WORDINGS[word] if word in WORDINGS and rng.random() > EVEN.get(word, FIRST) else word

    return CHOICE.sub(choice, steps)


def plain(text):
    """The one wording that stands for all."""
    return CHOSEN.sub(lambda m: PLAIN.get(m[0], m[0]), text)


GREETINGS = ("Please ", "Hello! ", "Hi, ")  # "Please" only before an imperative
IMPERATIVES = (
    "Add",
    "Calculate",
    "Find",
    "Compute",
    "Subtract",
    "Take",
    "Run",
    "Write",
    "Count",
    "Name",
    "Give",
    "Say",
)


def dressed(rng: random.Random, phrasing: str, **payload: object) -> str:
    """Fill a phrasing in and type it the way people do: sometimes a greeting, a small first letter, no full stop."""
    word = phrasing.split()[0]
    greetings = GREETINGS if word in IMPERATIVES else GREETINGS[1:]
    if word[0] != "{":
        greeting = rng.choice(greetings) if rng.random() < 0.1 else ""
        if greeting == "Please " or rng.random() < 0.2:
            phrasing = phrasing[0].lower() + phrasing[1:]
        phrasing = greeting + phrasing
    if rng.random() < 0.1 and phrasing[-1] in ".?" and not phrasing.endswith("= ?"):
        phrasing = phrasing[:-1]
    return phrasing.format(**payload)


def listed(items):
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]


def with_article(noun):
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
