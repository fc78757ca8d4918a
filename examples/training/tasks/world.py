"""The small world that the questions are about."""

BOYS = ("Bob", "Carl", "Emil", "Gus", "Ivan", "Leo", "Ned", "Paul")
GIRLS = ("Ann", "Dora", "Fay", "Hana", "Jill", "Kim", "Mia", "Olga")
NAMES = tuple(sorted(BOYS + GIRLS))
THINGS = ("apples", "coins", "books", "pens", "cards", "shells", "cups", "nuts")
KINDS = ("wug", "dax", "fep", "lom", "zib", "tov", "mip", "gorp", "blick", "quon", "sarn", "yalt")
COLOURS = ("red", "blue", "green", "pink", "black", "white", "gold", "grey")
FOODS = ("soup", "rice", "bread", "cheese", "fish", "cake")
JOBS = ("cook", "nurse", "pilot", "baker", "judge", "clown", "guard", "miner")
PETS = ("dog", "cat", "horse", "snake", "goat", "duck")
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
