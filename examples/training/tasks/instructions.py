"""Doing as told: json, counting, manifest."""

import json

from .arithmetic import after_steps
from .question import Family, after_answer
from .wording import dressed, listed
from .world import COLOURS, FOODS, JOBS, NAMES, PETS, THINGS

JSON_ASK = (
    "Write JSON with the keys {keys}: {person}",
    "Give JSON with keys {keys}. {person}",
    "{person} Write that as JSON with the keys {keys}.",
)
PERSON = {"age": "is {age} years old", "job": "works as a {job}", "pet": "has a {pet}", "food": "likes {food}"}
COUNTING_ASK = (
    "Write the word {first}{rest}.",
    "Write {first}{rest}.",
    "Say {first}{rest}.",
)
MANIFEST = (
    "Write {list} as JSON with count, sum and items.",
    "Give JSON with count, sum and items: {list}.",
)


def json_object(rng, level):
    people, keys = [], rng.sample(sorted(PERSON), rng.choice({1: (1, 2), 2: (3, 4), 3: (1, 2)}[level]))
    for name in rng.sample(NAMES, rng.choice((2, 3)) if level == 3 else 1):
        people.append(
            {
                "name": name,
                "age": rng.randint(20, 79),
                "job": rng.choice(JOBS),
                "pet": rng.choice(PETS),
                "food": rng.choice(FOODS),
            }
        )
    said = " ".join(
        f"{person['name']} " + listed([PERSON[k].format(**person) for k in keys]) + "." for person in people
    )
    keys.insert(0, "name")
    rng.shuffle(keys)
    text = dressed(rng, rng.choice(JSON_ASK), keys=listed(keys), person=said)
    wanted = [{k: person[k] for k in keys} for person in people]
    final = json.dumps(wanted if len(wanted) > 1 else wanted[0])
    return f"json {final}", text, after_steps(rng, "Here the keys are " + ", then ".join(keys), final), final


def same_json(found, wanted):
    """The same values under the same keys, in the same order."""
    try:
        found, wanted = (json.loads(text, object_pairs_hook=list) for text in (found, wanted))
    except (ValueError, RecursionError):
        return False
    return found == wanted and json.dumps(found) == json.dumps(wanted)  # 1 is neither true nor 1.0


def counting(rng, level):
    words = rng.sample(COLOURS + FOODS + PETS, rng.choice({1: (1, 1, 2), 2: (2,), 3: (2, 3)}[level]))
    most = {1: 4, 2: 7, 3: 9 if len(words) == 2 else 6}[level]
    times = [rng.randint(1, most) for _ in words]
    said = [f"{word} {n} time{'s' if n > 1 else ''}" for word, n in zip(words, times)]
    rest = "".join(f"{', then' if i < len(words) - 1 else ' and then'} {part}" for i, part in enumerate(said[1:], 1))
    text = dressed(rng, rng.choice(COUNTING_ASK), first=said[0], rest=rest)
    written = [word for word, n in zip(words, times) for _ in range(n)]
    steps = "First " + ", ".join(f"{i} {word}" for i, word in enumerate(written, 1))
    final = " ".join(written)
    return " ".join(f"{word} {n}" for word, n in zip(words, times)), text, after_steps(rng, steps, final), final


def manifest(rng, level):
    """JSON whose header says how many items its body has, and what they add up to."""
    count = rng.choice({1: (1, 2), 2: (3, 4), 3: (5, 6)}[level])
    amounts = {thing: rng.randint(1, 19) for thing in rng.sample(THINGS, count)}
    items, total = [], 0
    for thing, n in amounts.items():
        total += n
        items.append({thing: n, "sum": total})
    final = json.dumps({"count": count, "sum": total, "items": items})
    text = dressed(rng, rng.choice(MANIFEST), list=listed([f"{n} {thing}" for thing, n in amounts.items()]))
    return f"manifest {amounts}", text, final, final


FAMILIES = (
    Family("json", "instructions", 2, json_object, after_answer, same_json),
    Family("counting", "instructions", 2, counting, after_answer),
    Family("manifest", "instructions", 3, manifest, str.strip, same_json, consistency=True),
)
