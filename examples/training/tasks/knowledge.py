"""What is known by heart: facts, listing."""

from .arithmetic import after_steps, stated_first
from .question import Family, after_answer, before_steps
from .wording import dressed, listed, with_article
from .world import CAPITALS, COLOURS, FOODS, JOBS, LEGS, NAMES, PETS

LEGS_ASK = (
    "How many legs do {list} have together?",
    "How many legs do {list} have in all?",
    "Count the legs of {list}.",
)
ONE_LEGS_ASK = ("How many legs does {list} have?", "Count the legs of {list}.")
CAPITALS_ASK = ("What are the capitals of {list}?", "Name the capitals of {list}.", "Give the capitals of {list}.")
ONE_CAPITAL_ASK = ("What is the capital of {list}?", "Name the capital of {list}.", "Give the capital of {list}.")
LISTING = (
    "How many of {list} are {what}? Say it first.",
    "Count the {what} among {list}. Say the number first.",
)
WORDS = {"colours": COLOURS, "foods": FOODS, "pets": PETS, "jobs": JOBS, "names": NAMES}


def facts(rng, level):
    if rng.random() < 0.5:
        animals = rng.sample(sorted(LEGS), rng.choice({1: (1, 2), 2: (3, 4), 3: (5, 6)}[level]))
        asking = LEGS_ASK if len(animals) > 1 else ONE_LEGS_ASK
        text = dressed(rng, rng.choice(asking), list=listed([with_article(a) for a in animals]))
        steps, total = "First " + ", then ".join(f"{with_article(a)} has {LEGS[a]}" for a in animals), LEGS[animals[0]]
        for animal in animals[1:]:
            steps += f", then {total} + {LEGS[animal]} gives {total + LEGS[animal]}"
            total += LEGS[animal]
        return f"legs {sorted(animals)}", text, after_steps(rng, steps, total), str(total)
    countries = rng.sample(sorted(CAPITALS), rng.choice({1: (1, 2), 2: (3, 4), 3: (5, 6)}[level]))
    asking = CAPITALS_ASK if len(countries) > 1 else ONE_CAPITAL_ASK
    text = dressed(rng, rng.choice(asking), list=listed(countries))
    steps, final = (
        "First " + ", then ".join(f"{c} has {CAPITALS[c]}" for c in countries),
        ", ".join(CAPITALS[c] for c in countries),
    )
    return f"capitals {sorted(countries)}", text, after_steps(rng, steps, final), final


def listing(rng, level):
    """A summary line, `Answer: 2 of 5`, before the listing that it counts."""
    count = rng.choice({1: (1, 2, 3), 2: (4, 5, 6), 3: (8, 9, 10, 11)}[level])
    what, other = rng.sample(sorted(WORDS), 2)
    share = rng.uniform(0.2, 0.8)
    words = [rng.choice(WORDS[what if rng.random() < share else other]) for _ in range(count)]
    steps, found = [], 0
    for index, word in enumerate(words, 1):
        found += word in WORDS[what]
        steps.append(f"{index} {word} {'yes' if word in WORDS[what] else 'no'} {found}")
    final = f"{found} of {count}"
    text = dressed(rng, rng.choice(LISTING), list=listed(words), what=what)
    return f"listing {what} {words}", text, stated_first(rng, "First " + ", then ".join(steps), final), final


FAMILIES = (
    Family("facts", "knowledge", 2, facts, after_answer),
    Family("listing", "knowledge", 3, listing, before_steps, consistency=True),
)
