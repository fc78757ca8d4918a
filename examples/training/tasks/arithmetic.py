"""Sums: addition, subtraction, story, bill, match."""

from .question import Family, after_answer, before_steps
from .wording import dressed, listed, worded
from .world import BOYS, NAMES, THINGS

# A field in braces is payload; everything else is the language that the model reads.
ADD = (
    "What is {a} plus {b}?",
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "Calculate {a} + {b}.",
    "How much is {a} plus {b}?",
    "Find the sum of {a} and {b}.",
    "{a} + {b} = ?",
    "{a}+{b}",
    "{a} plus {b}",
    "What is the sum of {a} and {b}?",
    "Compute {a} + {b}.",
    "What's {a}+{b}?",
    "What's {a} plus {b}?",
)
SUBTRACT = (
    "What is {a} minus {b}?",
    "What is {a} - {b}?",
    "Subtract {b} from {a}.",
    "Calculate {a} - {b}.",
    "How much is {a} minus {b}?",
    "Take {b} away from {a}.",
    "{a} - {b} = ?",
    "{a}-{b}",
    "{a} minus {b}",
    "What is the difference between {a} and {b}?",
    "Compute {a} - {b}.",
    "What's {a}-{b}?",
    "What's {a} minus {b}?",
)
STORY_START = ("{name} has {n} {things}.", "{name} starts with {n} {things}.")
STORY_EVENTS = {
    "buy": ("{who} buys {k} bags of {m} {things}.", "{who} gets {k} bags of {m} {things}."),
    "get": ("{name} finds {k} more.", "A friend gives {name} {k} more."),
    "lose": ("{who} loses {k}.", "{who} gives away {k}."),
}
STORY_ASK = (
    "How many {things} does {name} have now?",
    "How many {things} are there now?",
    "How many {things} does {name} have in the end?",
)
BILL = (
    "What do {items} cost? Say the total first.",
    "How much are {items}? Say the total first.",
    "{name} buys {items}. How much is that? Say the total first.",
    "Give the total of {items}, then the steps.",
)
MATCH = (
    "{a} scores {first}. {b} scores {second}. Who wins? Say it first.",
    "{a} has {first} points, {b} has {second}. Who wins, by how much? Say it first.",
)

DIGITS = {1: ((1, 1), (2, 1), (2, 2)), 2: ((3, 1), (3, 2), (3, 3), (4, 3)), 3: ((4, 4), (5, 3), (5, 5), (6, 6))}


def number(rng, digits):
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def operands(rng, level, edge):
    """Two numbers of the level's digits, one time in eight an edge case: (the larger, the smaller)."""
    long, short = rng.choice(DIGITS[level])
    pair = edge(rng, long, short) if rng.random() < 1 / 8 else (number(rng, long), number(rng, short))
    return max(pair), min(pair)


def columns(a, b, sign):
    """Column arithmetic from the right: `347, 86` -> `First 7 + 6 gives 13, then 4 + 8 + 1 gives 13, ...`, carry or
    borrow as the last term."""
    steps, carry = [], 0
    for place in range(len(str(max(a, b)))):
        digits = [int(str(n)[-1 - place]) for n in (a, b) if place < len(str(n))] + ([carry] if carry else [])
        if sign == "+":
            result = sum(digits)
            carry = result // 10
        else:
            result = digits[0] - sum(digits[1:])
            carry = 1 if result < 0 else 0
            digits[0], result = digits[0] + 10 * carry, result + 10 * carry
        steps.append(f"{f' {sign} '.join(map(str, digits))} gives {result}")
    return "First " + ", then ".join(steps)


def after_steps(rng, steps, final):
    return f"{worded(rng, steps)}. Answer: {final}"


def stated_first(rng, steps, final):
    return f"Answer: {final}. {worded(rng, steps)}."


def addition(rng, level):
    # 999 + 1, 4000 + 7, 36 + 0
    def edge(rng, long, short):
        return rng.choice(
            ((10**long - 1, 1), (rng.randint(1, 9) * 10 ** (long - 1), number(rng, short)), (number(rng, long), 0))
        )

    pair = operands(rng, level, edge)
    a, b = rng.sample(pair, 2)
    return (
        f"{pair[1]}+{pair[0]}",
        dressed(rng, rng.choice(ADD), a=a, b=b),
        after_steps(rng, columns(a, b, "+"), a + b),
        str(a + b),
    )


def subtraction(rng, level):
    # 1000 - 1, 4000 - 7, 36 - 0, 36 - 36
    def edge(rng, long, short):
        n = number(rng, long)
        return rng.choice(
            ((10 ** (long - 1), 1), (rng.randint(1, 9) * 10 ** (long - 1), number(rng, short)), (n, 0), (n, n))
        )

    a, b = operands(rng, level, edge)
    return (
        f"{a}-{b}",
        dressed(rng, rng.choice(SUBTRACT), a=a, b=b),
        after_steps(rng, columns(a, b, "-"), a - b),
        str(a - b),
    )


def story(rng, level):
    name, things, total = rng.choice(NAMES), rng.choice(THINGS), rng.randint(3, 20)
    text, steps, content = [rng.choice(STORY_START).format(name=name, n=total, things=things)], [], [f"story {total}"]
    for _ in range(rng.choice({1: (1, 2), 2: (3,), 3: (4, 5)}[level])):
        event = rng.choice(("buy", "get", "lose") if total > 2 else ("buy", "get"))
        k, m = rng.randint(2, 5), rng.randint(2, 5)
        if event != "buy":
            k = rng.randint(2, min(9, total - 1) if event == "lose" else 9)
        who = rng.choice((name, "He" if name in BOYS else "She"))
        text.append(rng.choice(STORY_EVENTS[event]).format(name=name, who=who, k=k, m=m, things=things))
        change = {"buy": k * m, "get": k, "lose": -k}[event]
        if event == "buy":
            steps.append(f"{k} * {m} gives {k * m}")
        steps.append(f"{total} {'+' if change > 0 else '-'} {abs(change)} gives {total + change}")
        total += change
        content.append(f"{event} {k} {m if event == 'buy' else ''}")
    text.append(rng.choice(STORY_ASK).format(name=name, things=things))
    return " ".join(content), " ".join(text), after_steps(rng, "First " + ", then ".join(steps), total), str(total)


def bill(rng, level):
    """The total first, and then the items that it is the sum of."""
    count = rng.choice({1: (1, 2), 2: (3,), 3: (4, 5)}[level])
    items = [(rng.randint(2, 9), thing, rng.randint(2, 9)) for thing in rng.sample(THINGS, count)]
    steps, total = [], 0
    for n, _, price in items:
        steps.append(f"{n} * {price} gives {n * price}")
        if total:
            steps.append(f"{total} + {n * price} gives {total + n * price}")
        total += n * price
    text = dressed(
        rng, rng.choice(BILL), name=rng.choice(NAMES), items=listed([f"{n} {thing} at {p}" for n, thing, p in items])
    )
    content = f"bill {[(n, price) for n, _, price in items]}"
    return content, text, stated_first(rng, "First " + ", then ".join(steps), total), str(total)


def match(rng, level):
    """Who wins, and by how much, before the two lines of points that decide it."""
    names, rounds = rng.sample(NAMES, 2), rng.choice({1: (1, 2), 2: (3, 4), 3: (5, 6, 7)}[level])
    scores = [[rng.randint(1, 9) for _ in range(rounds)] for _ in names]
    lines = []
    for name, points in zip(names, scores):
        sums = [sum(points[: i + 1]) for i in range(rounds)]
        lines.append(f"{name} has " + ", then ".join(map(str, sums)))
    lead = sum(scores[0]) - sum(scores[1])
    final = f"{names[0 if lead > 0 else 1]} by {abs(lead)}" if lead else "nobody"
    text = dressed(
        rng,
        rng.choice(MATCH),
        a=names[0],
        b=names[1],
        first=listed([*map(str, scores[0])]),
        second=listed([*map(str, scores[1])]),
    )
    return f"match {scores}", text, stated_first(rng, "First " + ". Then ".join(lines), final), final


FAMILIES = (
    Family("addition", "math", 3, addition, after_answer),
    Family("subtraction", "math", 3, subtraction, after_answer),
    Family("story", "math", 3, story, after_answer),
    Family("bill", "math", 4, bill, before_steps, consistency=True),
    Family("match", "math", 3, match, before_steps, consistency=True),
)
