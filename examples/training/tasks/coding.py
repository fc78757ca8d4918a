"""Programs: output, program, announced."""

import re

from .arithmetic import after_steps
from .question import Family, after_answer
from .wording import dressed, worded

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
ANNOUNCED = (
    "Write a program that prints x. Start with x = {x}: {ops}. Say first what it prints.",
    "Write code: x = {x}, {ops}, print x. Say first what it prints.",
)
OPERATIONS = {
    "+": ("adds {k}", "adds {k} to x"),
    "-": ("subtracts {k}", "takes away {k}"),
    "*": ("multiplies by {k}", "multiplies x by {k}"),
}
PRINTS = re.compile(r"# prints (-?\d+)\n")


def applied(x, sign, k):
    return {"+": x + k, "-": x - k, "*": x * k}[sign]


def operation(rng, value):
    """(sign, number) that keep a value small and not below zero."""
    sign = rng.choice("+" if value < 1 else "+-*" if value < 12 else "+-" if value < 60 else "-")
    return sign, rng.randint(2, 3) if sign == "*" else rng.randint(1, 9 if sign == "+" else min(9, value))


def output(rng, level):
    """Straight-line programs, each traced statement by statement; the hardest may print what was not assigned last."""
    variables = rng.sample("xyab", 2 if level < 3 else 3)
    values = {variables[0]: rng.randint(2, 9)}
    code = [f"{variables[0]} = {values[variables[0]]}"]
    steps, last = [f"{variables[0]} gets {values[variables[0]]}"], variables[0]
    for _ in range(rng.choice({1: (0, 1, 2), 2: (3, 4), 3: (5, 6)}[level])):
        source = last if rng.random() < 0.8 else rng.choice(sorted(values))
        target, before = rng.choice(variables), values[source]
        sign, k = operation(rng, before)
        values[target], last = applied(before, sign, k), target
        code.append(f"{target} = {source} {sign} {k}")
        steps.append(f"{target} gets {before}{sign}{k}, so {values[target]}")
    shown = rng.choice(sorted(values)) if level == 3 and rng.random() < 0.3 else last
    text = "; ".join(code) + f"; print {shown}"
    final = str(values[shown])
    return (
        text,
        dressed(rng, rng.choice(OUTPUT), code=text),
        after_steps(rng, "First " + ", then ".join(steps), final),
        final,
    )


def operations(rng, value, count):
    """[(sign, number, value after it)]; no two neighbours of one sign."""
    made = []
    while len(made) < count:
        sign, k = operation(rng, value)
        if made and made[-1][0] == sign and value < 60:
            continue
        value = applied(value, sign, k)
        made.append((sign, k, value))
    return made


def asked(rng, made):
    return ", then ".join(rng.choice(OPERATIONS[sign]).format(k=k) for sign, k, _ in made)


def program(rng, level):
    x = value = rng.randint(2, 9)
    made, steps = operations(rng, x, rng.choice({1: (1,), 2: (2, 3), 3: (4, 5)}[level])), []
    for sign, k, result in made:
        steps.append(f"{value} {sign} {k} gives {result}")
        value = result
    code = "; ".join(f"x {sign}= {k}" for sign, k, _ in made)
    text = dressed(rng, rng.choice(PROGRAM), ops=asked(rng, made), x=x)
    return f"{code} at {x}", text, after_steps(rng, "First " + ", then ".join(steps), code), code


def run(code, x):
    """The tiny language of `program`: statements `x OP= NUMBER`, divided by `; `. None if it isn't one."""
    for statement in code.split("; "):
        match = re.fullmatch(r"x ([-+*])= (\d{1,3})", statement)
        if not match:
            return None
        x = applied(x, match[1], int(match[2]))
    return x


def same_program(found, wanted):
    return all(run(found, x) == run(wanted, x) for x in range(-3, 12))


def announced(rng, level):
    """What a program prints, and below it the program, with what becomes of x beside each statement."""
    x = rng.randint(2, 9)
    made = operations(rng, x, rng.choice({1: (1, 2), 2: (3, 4), 3: (6, 7, 8)}[level]))
    lines = [f"x = {x}"] + [f"x {sign}= {k} # gives {value}" for sign, k, value in made] + ["print x"]
    final = str(made[-1][2])
    code = worded(rng, "\n".join(lines))
    text = dressed(rng, rng.choice(ANNOUNCED), ops=asked(rng, made), x=x)
    return f"announced {lines}", text, f"# prints {final}\n{code}", final


def printed(answer):
    """What a program prints, if that is what it announces; else None."""
    announced, lines = PRINTS.match(answer), [line.partition("#")[0].strip() for line in answer.split("\n")[1:]]
    if not announced or len(lines) < 2 or lines[-1] != "print x" or not re.fullmatch(r"x = \d{1,3}", lines[0]):
        return None
    x = int(lines[0].removeprefix("x = "))
    result = run("; ".join(lines[1:-1]), x) if lines[1:-1] else x
    return announced[1] if announced[1] == str(result) else None


FAMILIES = (
    Family("output", "coding", 3, output, after_answer),
    Family("program", "coding", 2, program, after_answer, same_program),
    Family("announced", "coding", 4, announced, printed, consistency=True),
)
