"""The questions: four families asked in words, each with worked steps and one right answer.

A question is drawn as *content* (for example the operands of a sum), then dressed in one of many phrasings. Training and held-out
questions are told apart by a hash of the content, never of the phrasing: no way of asking can carry a held-out question into training.

Every answer is one line, worked steps first where the family has any, then `Answer: ...`. The steps are there to be checked
(strict score) and edited: a parallel draft gets some of them wrong, and token-to-token editing has something to repair.
"""
import hashlib
import json
import random
import re
from dataclasses import dataclass

FAMILIES = ("addition", "subtraction", "sorting", "extremes")
HELD_OUT_SHARE = 16  # one content in sixteen is held out


@dataclass(frozen=True)
class Question:
    family: str
    content: str  # what the split is decided on
    text: str     # as a user would type it
    worked: str   # the whole expected answer
    final: str    # what stands after `Answer: `


# --- Phrasings. A field in braces is payload; everything else is the small language the model reads. -------------------------------

ADD_TWO = (
    "What is {a} plus {b}?", "What is {a} + {b}?", "Add {a} and {b}.", "Calculate {a} + {b}.", "How much is {a} plus {b}?",
    "Find the sum of {a} and {b}.", "{a} + {b} = ?", "{a}+{b}", "{a} plus {b}", "What do {a} and {b} add up to?", "What is the sum of {a} and {b}?",
    "Compute {a} + {b}.", "I have {a} apples and get {b} more. How many apples do I have?",
    "There are {a} birds in a tree and {b} more come. How many birds are there?", "What's {a}+{b}?",
)
ADD_THREE = (
    "What is {a} plus {b} plus {c}?", "What is {a} + {b} + {c}?", "Add {a}, {b} and {c}.", "Calculate {a} + {b} + {c}.",
    "Find the sum of {a}, {b} and {c}.", "{a} + {b} + {c} = ?", "{a}+{b}+{c}", "What is the sum of {a}, {b} and {c}?", "What do {a}, {b} and {c} add up to?",
)
SUBTRACT = (
    "What is {a} minus {b}?", "What is {a} - {b}?", "Subtract {b} from {a}.", "Calculate {a} - {b}.", "How much is {a} minus {b}?",
    "Take {b} away from {a}.", "{a} - {b} = ?", "{a}-{b}", "{a} minus {b}", "What is the difference between {a} and {b}?", "Compute {a} - {b}.",
    "I have {a} coins and spend {b}. How many coins are left?", "There are {a} birds in a tree and {b} fly away. How many birds are left?",
    "What's {a}-{b}?",
)
SORT_UP = (
    "Sort these numbers: {list}", "Sort the numbers {list}.", "Sort {list}", "Put these numbers in order: {list}", "Arrange {list} in ascending order.",
    "Can you sort {list}?",
)
SORT_DOWN = (
    "Sort these numbers backwards: {list}", "Put these numbers in descending order: {list}", "Arrange {list} in descending order.",
    "Sort {list} in reverse order.",
)
LARGEST = (
    "Which number is the largest: {list}?", "What is the largest of {list}?", "Find the maximum of {list}.", "What is the maximum of {list}?",
    "Which is the biggest: {list}?", "Which of these is the largest: {list}?", "Largest number: {list}",
)
SMALLEST = (
    "Which number is the smallest: {list}?", "What is the smallest of {list}?", "Find the minimum of {list}.", "What is the minimum of {list}?",
    "Which of these is the smallest: {list}?", "Smallest number: {list}",
)
LARGER = ("Which is larger, {a} or {b}?", "Which number is bigger: {a} or {b}?", "Is {a} or {b} larger?", "What is more, {a} or {b}?")
SMALLER = ("Which is smaller, {a} or {b}?", "Which number is smaller: {a} or {b}?", "Is {a} or {b} smaller?", "What is less, {a} or {b}?")
PHRASINGS = (ADD_TWO + ADD_THREE + SUBTRACT + SORT_UP + SORT_DOWN + LARGEST + SMALLEST + LARGER + SMALLER)
GREETINGS = ("Please ", "Hello! ", "Hi, ")  # "Please" only before an imperative
IMPERATIVES = ("Add", "Calculate", "Find", "Compute", "Subtract", "Take", "Sort", "Put", "Order", "Arrange")


def is_held_out(content):
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0


# --- Worked answers ------------------------------------------------------------------------------------------------------------------

def columns(numbers, join):
    """Column arithmetic from the right: `347, 86` -> `7?6=13, 4?8?1=13, 3?1=4`, the carry (or borrow) written as the last term."""
    steps, carry = [], 0
    for place in range(len(str(max(numbers)))):
        digits = [int(str(n)[-1 - place]) for n in numbers if place < len(str(n))]
        terms = digits + ([carry] if carry else [])
        if join == "+":
            total = sum(terms)
            shown, carry = terms, total // 10
        else:
            total = terms[0] - sum(terms[1:])
            carry = 1 if total < 0 else 0
            shown, total = [terms[0] + 10 * carry] + terms[1:], total + 10 * carry
        steps.append(join.join(map(str, shown)) + f"={total}")
    return ", ".join(steps)


def running_best(numbers, sign):
    """`34, 71, 25` -> `34<71, 71>25`: the best so far stands on the left of each comparison."""
    best, steps = numbers[0], []
    for n in numbers[1:]:
        steps.append(f"{best}{'<' if best < n else '>'}{n}")
        best = max(best, n) if sign > 0 else min(best, n)
    return ", ".join(steps), best


# --- Generators, one per family: draw content, phrase it, solve it ------------------------------------------------------------------

def dressed(rng, phrasing, **payload):
    """Fill a phrasing in and type it the way people do: sometimes a greeting, a small first letter, no full stop."""
    greetings = GREETINGS if phrasing.split()[0] in IMPERATIVES else GREETINGS[1:]
    if rng.random() < 0.3:
        phrasing = phrasing[0].lower() + phrasing[1:]
    if rng.random() < 0.15 and phrasing[-1] in ".?" and not phrasing.endswith("= ?"):
        phrasing = phrasing[:-1]
    if rng.random() < 0.1:
        phrasing = rng.choice(greetings) + phrasing
    return phrasing.format(**payload)


def listed(rng, numbers):
    style = rng.random()
    if style < 0.6:
        return ", ".join(map(str, numbers))
    if style < 0.85:
        return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return " ".join(map(str, numbers))


def number(rng, digits):
    return rng.randrange(10 ** (digits - 1), 10 ** digits)


def addition(rng):
    if rng.random() < 0.15:
        numbers = [number(rng, 2) for _ in range(3)]
        text = dressed(rng, rng.choice(ADD_THREE), **dict(zip("abc", numbers)))
    else:
        numbers = [number(rng, d) for d in rng.choice(((1, 2), (2, 1), (2, 2), (2, 2), (2, 2), (2, 2), (3, 3), (3, 3)))]
        text = dressed(rng, rng.choice(ADD_TWO), **dict(zip("ab", numbers)))
    content = "+".join(map(str, sorted(numbers)))
    return Question("addition", content, text, f"{columns(numbers, '+')}. Answer: {sum(numbers)}", str(sum(numbers)))


def subtraction(rng):
    a, b = sorted((number(rng, d) for d in rng.choice(((2, 1), (2, 2), (2, 2), (2, 2), (3, 3)))), reverse=True)
    text = dressed(rng, rng.choice(SUBTRACT), a=a, b=b)
    return Question("subtraction", f"{a}-{b}", text, f"{columns([a, b], '-')}. Answer: {a - b}", str(a - b))


def sorting(rng):
    """Single digits: one token each, so that the order is all there is to learn."""
    items = rng.sample("0123456789", rng.randint(3, 7))
    down = rng.random() < 0.4
    text = dressed(rng, rng.choice(SORT_DOWN if down else SORT_UP), list=listed(rng, items))
    final = ", ".join(sorted(items, reverse=down))
    return Question("sorting", f"sort {items}", text, f"Answer: {final}", final)


def extremes(rng):
    sign = rng.choice((1, -1))
    if rng.random() < 0.4:
        numbers = rng.sample(range(10, 100), 2)
        if rng.random() < 0.3:  # close neighbours are the interesting ones
            numbers[1] = min(10 ** len(str(numbers[0])) - 1, numbers[0] + rng.choice((1, 2, 9, 10)))
            if numbers[0] == numbers[1]:
                numbers[1] -= 1
            rng.shuffle(numbers)
        text = dressed(rng, rng.choice(LARGER if sign > 0 else SMALLER), a=numbers[0], b=numbers[1])
    else:
        numbers = rng.sample(range(10, 100), rng.randint(3, 4))
        text = dressed(rng, rng.choice(LARGEST if sign > 0 else SMALLEST), list=listed(rng, numbers))
    steps, best = running_best(numbers, sign)
    return Question("extremes", f"extremes {sorted(numbers)}", text, f"{steps}. Answer: {best}", str(best))


GENERATORS = {f.__name__: f for f in (addition, subtraction, sorting, extremes)}


def draw(rng, held_out, family=None):
    """One question of the wanted side of the split. Families come up in proportion to how long they took to learn."""
    family = family or rng.choices(FAMILIES, (3, 3, 3, 2))[0]
    while True:
        question = GENERATORS[family](rng)
        if is_held_out(question.content) == held_out:
            return question


# --- Checking ------------------------------------------------------------------------------------------------------------------------

def check(question, answer):
    """(final, strict): is the answer right; is every worked step right too. The worked form of a question is unique."""
    match = re.search(r"Answer: (.*)$", answer)
    return bool(match) and match[1] == question.final, answer == question.worked


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


if __name__ == "__main__":
    shown = random.Random(1)
    for family in FAMILIES:
        for _ in range(4):
            q = draw(shown, False, family)
            print(f"{q.family:12} {q.text}\n{'':12} {q.worked}")
