import argparse
import random
from pathlib import Path

import tasks

options = argparse.ArgumentParser(description="Shows a few questions of each family, or writes the fixed lists.")
options.add_argument("--write", type=Path, metavar="FOLDER", help="write FOLDER/held_out.jsonl and validation.jsonl")
options.add_argument("--per-family", type=int, default=250, metavar="N")
choice = options.parse_args()
if choice.write:
    for split in tasks.FILES:
        tasks.write_jsonl(choice.write / f"{split}.jsonl", tasks.fixed_set(split, choice.per_family))
else:
    rng = random.Random(1)
    for family in tasks.FAMILIES:
        for level in tasks.LEVELS:
            q = tasks.draw(rng, "train", family, level)
            print(f"{q.family:12} {q.level} {q.text}\n{'':14} {q.worked}")
