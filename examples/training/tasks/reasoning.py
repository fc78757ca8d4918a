"""Conclusions: implication, ordering, proof."""

from .arithmetic import after_steps, stated_first
from .question import Family, after_answer, before_steps
from .world import KINDS, NAMES

RULE, FACT = "Every {a} is a {b}.", "{name} is a {a}."
IMPLICATION_ASK = ("Is {name} a {a} or a {b}?", "What is {name}, a {a} or a {b}?")
PROOF_ASK = (
    "What is {name} in the end? Say it first.",
    "What is {name} after all? Say it first, then prove it.",
)
ORDERING_FACT = ("{a} is taller than {b}.", "{b} is shorter than {a}.")  # a question keeps to one of them
ORDERING_ASK = {
    "first": ("Who is the tallest?", "Who is tallest?"),
    "last": ("Who is the shortest?", "Who is shortest?"),
    "second": ("Who is the second tallest?",),
}


def rules(rng, hops, other, shuffled):
    """(chain of kinds, kinds of a chain that it does not meet, sentences of both)."""
    kinds = rng.sample(KINDS, hops + 1 + other + 1)
    chain, rest = kinds[: hops + 1], kinds[hops + 1 :]
    pairs = [*zip(chain, chain[1:]), *zip(rest, rest[1:])]
    if shuffled:
        rng.shuffle(pairs)
    return chain, rest, [RULE.format(a=a, b=b) for a, b in pairs]


def implication(rng, level):
    name, hops = rng.choice(NAMES), rng.choice({1: (1, 2), 2: (2, 3), 3: (4, 5)}[level])
    chain, rest, sentences = rules(rng, hops, 1 if level < 3 else 2, shuffled=level > 1)
    a, b = rng.sample((chain[-1], rest[-1]), 2)
    facts = [FACT.format(name=name, a=chain[0]), *sentences]
    text = " ".join(facts) + " " + rng.choice(IMPLICATION_ASK).format(name=name, a=a, b=b)
    steps = f"First {name} is a {chain[0]}, " + ", ".join(f"so a {kind}" for kind in chain[1:])
    final = f"a {chain[-1]}"
    return f"{name} {chain}", text, after_steps(rng, steps, final), final


def proof(rng, level):
    """The conclusion first; each step of the proof below it is one rule."""
    name, hops = rng.choice(NAMES), rng.choice({1: (1, 2), 2: (3,), 3: (4, 5, 6)}[level])
    chain, _, sentences = rules(rng, hops, rng.choice((1, 2)), shuffled=True)
    facts = [FACT.format(name=name, a=chain[0]), *sentences]
    text = " ".join(facts) + " " + rng.choice(PROOF_ASK).format(name=name)
    steps = [f"every {a} is a {b}, so {name} is a {b}" for a, b in zip(chain, chain[1:])]
    final = f"a {chain[-1]}"
    return (
        f"proof {chain}",
        text,
        stated_first(rng, f"First {name} is a {chain[0]}, then " + ", then ".join(steps), final),
        final,
    )


def ordering(rng, level):
    people, fact = rng.sample(NAMES, rng.choice({1: (2, 3), 2: (4,), 3: (5, 6)}[level])), rng.choice(ORDERING_FACT)
    facts = [fact.format(a=a, b=b) for a, b in zip(people, people[1:])]
    if rng.random() < 0.5:
        rng.shuffle(facts)
    ask = rng.choice(list(ORDERING_ASK))
    final = {"first": people[0], "last": people[-1], "second": people[1]}[ask]
    text = " ".join(facts) + " " + rng.choice(ORDERING_ASK[ask])
    return f"{people} {ask}", text, after_steps(rng, "First " + ", then ".join(people), final), final


FAMILIES = (
    Family("implication", "reasoning", 3, implication, after_answer),
    Family("ordering", "reasoning", 2, ordering, after_answer),
    Family("proof", "reasoning", 4, proof, before_steps, consistency=True),
)
