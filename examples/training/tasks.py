"""The questions: ten families over the reports' five areas, asked in words, each with worked steps and an answer a
program checks.

A question is drawn as *content* (for example the operands of a sum), then dressed in one of many phrasings. Training
and held-out questions are told apart by a hash of the content, never of the phrasing: no way of asking can carry a
held-out question into training.

Every answer ends with `Answer: ...`; most work up to it in steps. The steps are there to be checked (strict score) and
edited: a parallel draft gets some of them wrong, and token-to-token editing has something to repair. Their wording is
free, as in any natural text: at each `then` the answer may as well say `next` (WORDINGS). Whoever fills masks by
confidence has to settle each such choice before going on.

    python tasks.py            # a few questions of each family
"""

import hashlib
import itertools
import json
import random
import re
from dataclasses import dataclass

AREAS = {
    "math": ("addition", "subtraction", "story"),
    "coding": ("output", "program"),
    "reasoning": ("implication", "ordering"),
    "knowledge": ("facts",),
    "instructions": ("json", "counting"),
}
FAMILIES = tuple(itertools.chain(*AREAS.values()))
WEIGHTS = (3, 3, 3, 3, 2, 3, 2, 2, 3, 2)
HELD_OUT_SHARE = 16  # one content in sixteen is held out
MODE = 0.8  # how often the first of two wordings is chosen


@dataclass(frozen=True)
class Question:
    family: str
    content: str  # what the split is decided on
    text: str  # as a user would type it
    worked: str  # the whole expected answer, in one of its wordings
    final: str  # what stands after `Answer: `


# --- Wording: words and signs that may stand for each other, each one token: a choice moves nothing behind it. --------

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
CHOICE = re.compile(r"[A-Za-z]+|(?<=\d) [-+*] (?=\d)|, (?=then|so)")
CHOSEN = re.compile(r" (?:plus|minus|times) |[A-Za-z]+|; ")


def worded(rng, steps):
    """Each word and sign of WORDINGS becomes its other form one time in five, each on its own."""
    return CHOICE.sub(lambda m: WORDINGS[m[0]] if m[0] in WORDINGS and rng.random() > MODE else m[0], steps)


def plain(text):
    """The one wording that stands for all."""
    return CHOSEN.sub(lambda m: PLAIN.get(m[0], m[0]), text)


# --- The small world the questions are about --------------------------------------------------------------------------

NAMES = (
    "Ann",
    "Bob",
    "Carl",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivan",
    "Jill",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Olga",
    "Paul",
)
THINGS = ("apples", "coins", "books", "pens", "cards", "shells")
KINDS = ("wug", "dax", "fep", "lom", "zib", "tov", "mip", "gorp", "blick", "quon", "sarn", "yalt")
COLOURS = ("red", "blue", "green", "pink", "black", "white", "gold", "grey")
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Poland": "Warsaw",
    "Greece": "Athens",
    "Norway": "Oslo",
    "Austria": "Vienna",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Chile": "Santiago",
    "Canada": "Ottawa",
    "Portugal": "Lisbon",
    "Hungary": "Budapest",
    "Ireland": "Dublin",
    "Iraq": "Baghdad",
}
LEGS = {
    "spider": 8,
    "hen": 2,
    "cow": 4,
    "ant": 6,
    "snake": 0,
    "crab": 10,
    "dog": 4,
    "bee": 6,
    "duck": 2,
    "horse": 4,
    "scorpion": 8,
    "worm": 0,
    "cat": 4,
    "fly": 6,
    "owl": 2,
    "lobster": 10,
    "goat": 4,
    "moth": 6,
    "swan": 2,
    "tick": 8,
}
FOODS = ("soup", "rice", "bread", "cheese", "fish", "cake")
JOBS = ("cook", "nurse", "pilot", "baker", "judge", "clown", "guard", "miner")
PETS = ("dog", "cat", "horse", "snake", "goat", "duck")

# --- Phrasings. A field in braces is payload; everything else is the language the model reads. ------------------------

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
    "buy": ("{name} buys {k} bags of {m} {things}.", "{name} gets {k} bags of {m} {things}."),
    "get": ("{name} finds {k} more.", "A friend gives {name} {k} more."),
    "lose": ("{name} loses {k}.", "{name} gives away {k}."),
}
STORY_ASK = (
    "How many {things} does {name} have now?",
    "How many {things} are there now?",
    "How many {things} does {name} have in the end?",
)
OUTPUT = (
    "What does this program print? {code}",
    "What is the output of {code}?",
    "Run this program: {code}",
    "What does {code} print?",
)
PROGRAM = (
    "Write a program that {ops}. Try it with x = {x}.",
    "Write code that {ops}. Test it with x = {x}.",
    "Program x: {ops}. Try it with x = {x}.",
)
OPERATIONS = {
    "+": ("adds {k}", "adds {k} to x"),
    "-": ("subtracts {k}", "takes away {k}"),
    "*": ("multiplies by {k}", "multiplies x by {k}"),
}
IMPLICATION_RULE, IMPLICATION_FACT = "Every {a} is a {b}.", "{name} is a {a}."
IMPLICATION_ASK = ("Is {name} a {a} or a {b}?", "What is {name}, a {a} or a {b}?")
ORDERING_FACT = ("{a} is taller than {b}.", "{b} is shorter than {a}.")  # a question keeps to one of them
ORDERING_ASK = {
    "first": ("Who is the tallest?", "Who is tallest?"),
    "last": ("Who is the shortest?", "Who is shortest?"),
    "second": ("Who is the second tallest?",),
}
LEGS_ASK = (
    "How many legs do {list} have together?",
    "How many legs do {list} have in all?",
    "Count the legs of {list}.",
)
CAPITALS_ASK = ("What are the capitals of {list}?", "Name the capitals of {list}.", "Give the capitals of {list}.")
JSON_ASK = (
    "Write JSON with the keys {keys}: {person}",
    "Give JSON with keys {keys}. {person}",
    "{person} Write that as JSON with the keys {keys}.",
)
PERSON = {"age": "is {age} years old", "job": "works as a {job}", "pet": "has a {pet}", "food": "likes {food}"}
COUNTING_ASK = (
    "Write the word {a} {n} times and then {b} {m} times.",
    "Write {a} {n} times, then {b} {m} times.",
    "Say {a} {n} times and {b} {m} times.",
)
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


def is_held_out(content):
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0


def dressed(rng, phrasing, **payload):
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
    return f"{', '.join(items[:-1])} and {items[-1]}"


def number(rng, digits):
    return rng.randrange(10 ** (digits - 1), 10**digits)


# --- Generators, one per family: draw content, phrase it, solve it ----------------------------------------------------


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


def addition(rng):
    a, b = (number(rng, d) for d in rng.choice(((2, 2), (3, 2), (2, 3), (3, 3), (3, 3), (4, 3), (3, 4), (4, 4))))
    return f"{min(a, b)}+{max(a, b)}", dressed(rng, rng.choice(ADD), a=a, b=b), columns(a, b, "+"), str(a + b)


def subtraction(rng):
    a, b = sorted((number(rng, d) for d in rng.choice(((2, 2), (3, 2), (3, 3), (3, 3), (4, 3), (4, 4)))), reverse=True)
    return f"{a}-{b}", dressed(rng, rng.choice(SUBTRACT), a=a, b=b), columns(a, b, "-"), str(a - b)


def story(rng):
    name, things, total = rng.choice(NAMES), rng.choice(THINGS), rng.randint(3, 20)
    text, steps, content = [rng.choice(STORY_START).format(name=name, n=total, things=things)], [], [f"story {total}"]
    for event in rng.sample(("buy", "get", "lose"), rng.choice((2, 3))):
        k, m = rng.randint(2, 5), rng.randint(2, 5)
        if event != "buy":
            k = rng.randint(2, min(9, total - 1) if event == "lose" else 9)
        text.append(
            rng.choice(STORY_EVENTS[event]).format(
                name=rng.choice((name, "He" if NAMES.index(name) in BOYS else "She")), k=k, m=m, things=things
            )
            if event != "get"
            else rng.choice(STORY_EVENTS[event]).format(name=name, k=k)
        )
        change = {"buy": k * m, "get": k, "lose": -k}[event]
        if event == "buy":
            steps.append(f"{k} * {m} gives {k * m}")
        steps.append(f"{total} {'+' if change > 0 else '-'} {abs(change)} gives {total + change}")
        total += change
        content.append(f"{event} {k} {m if event == 'buy' else ''}")
    text.append(rng.choice(STORY_ASK).format(name=name, things=things))
    return " ".join(content), " ".join(text), "First " + ", then ".join(steps), str(total)


BOYS = {NAMES.index(n) for n in ("Bob", "Carl", "Emil", "Gus", "Ivan", "Leo", "Ned", "Paul")}


def output(rng):
    """Straight-line programs of two variables, each traced statement by statement."""
    first, second = rng.sample("xyab", 2)
    values = {first: rng.randint(2, 9)}
    code, steps = [f"{first} = {values[first]}"], [f"{first} gets {values[first]}"]
    target, source = second, first
    for _ in range(rng.choice((2, 3, 3))):
        sign = rng.choice("+" if values[source] < 1 else "++-*" if values[source] < 10 else "+-")
        k = rng.randint(2, 3) if sign == "*" else rng.randint(1, 9 if sign == "+" else min(9, max(1, values[source])))
        before = values[source]
        values[target] = {"+": before + k, "-": before - k, "*": before * k}[sign]
        code.append(f"{target} = {source} {sign} {k}")
        steps.append(f"{target} gets {before}{sign}{k}, so {values[target]}")
        source = target
        target = rng.choice((first, second))
    code = "; ".join(code) + f"; print {source}"
    return code, dressed(rng, rng.choice(OUTPUT), code=code), "First " + ", then ".join(steps), str(values[source])


def program(rng):
    x = value = rng.randint(2, 9)
    asked, steps, code = [], [], []
    for sign in rng.choice(
        ("+*", "*+", "*-", "-*", "+-*", "+*-", "*+-", "-+*", "-*+", "+*-+", "*+-+", "+-*-", "-+*+", "-*+-")
    ):
        k = (
            rng.randint(2, 3 if value < 10 else 2)
            if sign == "*"
            else rng.randint(1, 9 if sign == "+" else max(1, min(9, value)))
        )
        result = {"+": value + k, "-": value - k, "*": value * k}[sign]
        asked.append(rng.choice(OPERATIONS[sign]).format(k=k))
        steps.append(f"{value} {sign} {k} gives {result}")
        code.append(f"x {sign}= {k}")
        value = result
    code = "; ".join(code)
    return (
        f"{code} at {x}",
        dressed(rng, rng.choice(PROGRAM), ops=", then ".join(asked), x=x),
        "First " + ", then ".join(steps),
        code,
    )


def implication(rng):
    name, length = rng.choice(NAMES), rng.choice((2, 3))
    kinds = rng.sample(KINDS, length + 3)
    chain = kinds[: length + 1]
    rules = list(zip(chain, chain[1:])) + [(kinds[-2], kinds[-1])]
    a, b = rng.sample((chain[-1], kinds[-1]), 2)
    facts = [IMPLICATION_FACT.format(name=name, a=chain[0])] + [IMPLICATION_RULE.format(a=a, b=b) for a, b in rules]
    text = " ".join(facts) + " " + rng.choice(IMPLICATION_ASK).format(name=name, a=a, b=b)
    steps = f"First {name} is a {chain[0]}, " + ", ".join(f"so a {kind}" for kind in chain[1:])
    return f"{name} {chain}", text, steps, f"a {chain[-1]}"


def ordering(rng):
    people, fact = rng.sample(NAMES, rng.choice((3, 4))), rng.choice(ORDERING_FACT)
    facts = [fact.format(a=a, b=b) for a, b in zip(people, people[1:])]
    if rng.random() < 0.5:
        rng.shuffle(facts)
    ask = rng.choice(list(ORDERING_ASK))
    final = {"first": people[0], "last": people[-1], "second": people[1]}[ask]
    text = " ".join(facts) + " " + rng.choice(ORDERING_ASK[ask])
    return f"{people} {ask}", text, "First " + ", then ".join(people), final


def facts(rng):
    if rng.random() < 0.5:
        animals = rng.sample(sorted(LEGS), rng.choice((2, 3, 4)))
        text = dressed(
            rng, rng.choice(LEGS_ASK), list=listed([("an " if a[0] in "aeiou" else "a ") + a for a in animals])
        )
        steps, total = "First " + ", then ".join(f"a {a} has {LEGS[a]}" for a in animals), LEGS[animals[0]]
        for animal in animals[1:]:
            steps += f", then {total} + {LEGS[animal]} gives {total + LEGS[animal]}"
            total += LEGS[animal]
        return f"legs {sorted(animals)}", text, steps, str(total)
    countries = rng.sample(sorted(CAPITALS), rng.choice((3, 4, 5)))
    text = dressed(rng, rng.choice(CAPITALS_ASK), list=listed(countries))
    steps = "First " + ", then ".join(f"{c} has {CAPITALS[c]}" for c in countries)
    return f"capitals {sorted(countries)}", text, steps, ", ".join(CAPITALS[c] for c in countries)


def json_object(rng):
    person = {
        "name": rng.choice(NAMES),
        "age": rng.randint(20, 79),
        "job": rng.choice(JOBS),
        "pet": rng.choice(PETS),
        "food": rng.choice(FOODS),
    }
    keys = rng.sample(sorted(PERSON), rng.choice((2, 3, 4)))
    said = f"{person['name']} " + listed([PERSON[k].format(**person) for k in keys]) + "."
    keys.insert(0, "name")
    rng.shuffle(keys)
    text = dressed(rng, rng.choice(JSON_ASK), keys=listed(keys), person=said)
    wanted = {k: person[k] for k in keys}
    steps = "Here the keys are " + ", then ".join(keys)
    return f"json {wanted}", text, steps, json.dumps(wanted)


def counting(rng):
    a, b = rng.sample(COLOURS + FOODS + PETS, 2)
    n, m = rng.randint(2, 7), rng.randint(1, 6)
    text = dressed(rng, rng.choice(COUNTING_ASK), a=a, b=b, n=n, m=m)
    numbered = [f"{i + 1} {a if i < n else b}" for i in range(n + m)]
    return f"{a} {n} {b} {m}", text, "First " + ", ".join(numbered), " ".join([a] * n + [b] * m)


GENERATORS = {
    f.__name__.removesuffix("_object"): f
    for f in (addition, subtraction, story, output, program, implication, ordering, facts, json_object, counting)
}


def draw(rng, held_out, family=None):
    """One question of the wanted side of the split. Families come up in proportion to how long they take to learn."""
    family = family or rng.choices(FAMILIES, WEIGHTS)[0]
    while True:
        content, text, steps, final = GENERATORS[family](rng)
        if is_held_out(content) == held_out:
            return Question(family, content, text, f"{worded(rng, steps)}. Answer: {final}", final)


# --- Checking ---------------------------------------------------------------------------------------------------------


def run(code, x):
    """The tiny language of `program`: statements `x OP= NUMBER`, divided by `; `. None if it isn't one."""
    for statement in code.split("; "):
        match = re.fullmatch(r"x ([-+*])= (\d{1,3})", statement)
        if not match:
            return None
        k = int(match[2])
        x = {"+": x + k, "-": x - k, "*": x * k}[match[1]]
    return x


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def check(question, answer):
    """(final, strict): is the answer right; is every worked step right too, in whatever wording."""
    final = answer.rpartition("Answer: ")[2].strip()
    if question.family == "program":
        right = all(run(final, x) == run(question.final, x) for x in range(-3, 12))
    elif question.family == "json":
        found, wanted = parsed(final), json.loads(question.final)
        right = isinstance(found, dict) and list(found.items()) == list(wanted.items())
    else:
        right = final == question.final
    right = right and "Answer: " in answer
    return right, right and plain(answer.strip()) == plain(question.worked)


def held_out_set(per_family, seed=2026):
    """A fixed list of held-out questions, no content twice."""
    rng, questions = random.Random(seed), []
    for family in FAMILIES:
        seen = set()
        while len(seen) < per_family:
            q = draw(rng, True, family)
            if q.content not in seen:
                seen.add(q.content)
                questions.append(q)
    return questions


def write_jsonl(path, questions):
    with open(path, "w") as f:
        for q in questions:
            f.write(json.dumps({"family": q.family, "question": q.text, "final": q.final, "worked": q.worked}) + "\n")


def read_jsonl(path):
    with open(path) as f:
        return [
            Question(d["family"], d["question"], d["question"], d["worked"], d["final"]) for d in map(json.loads, f)
        ]


if __name__ == "__main__":
    shown = random.Random(1)
    for family in FAMILIES:
        for _ in range(3):
            q = draw(shown, False, family)
            print(f"{q.family:12} {q.text}\n{'':12} {q.worked}")
