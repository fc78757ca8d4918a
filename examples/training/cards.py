"""Model cards, README.md in the folder of each checkpoint, from what score.py wrote.

python cards.py runs/results.json runs/family
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
import results
import score
import tasks

# By name: what it is, how it came about, how to decode it.
ABOUT = {
    "tiny-base": ("a block diffusion base", "from an autoregressive one by the WSD schedule of block sizes", None),
    "tiny-2.0": ("a block diffusion chat model", "by supervised fine-tuning of tiny-base", "low_confidence"),
    "tiny-2.0-cap": ("tiny-2.0, sure of what it knows", "by confidence-aware training", "low_confidence"),
    "tiny-2.1": ("a model that edits its drafts", "from tiny-2.0 by an M2T + T2T mixture, multi-turn", "speedy"),
    "tiny-2.1-rl": ("tiny-2.1 after reinforcement", "by EBPO on rewards by program", "speedy"),
    "tiny-2.2": ("a model that inserts and deletes", "from tiny-2.1, with experts that a block shares", "levenshtein"),
}
CARD = """---
license: apache-2.0
library_name: llada
tags: [llada2_moe, block-diffusion, tiny]
---
# {name}
{what}, {how}. {parameters:.2f} M parameters, {megabytes:.1f} MB in BF16: hidden size {hidden_size},
{num_hidden_layers} layers, {num_experts} experts a layer ({num_experts_per_tok} a token) and a shared one. It answers
the {families} kinds of questions of `examples/training/tasks` and no others, in at most {gen_length} tokens.

{use}{scores}
"""
USE = """```python
import llada
model = llada.Model.load("{name}")
print(model.generate("{question}", llada.Policy.{policy}(), gen_length={gen_length}).text)
```

"""


def card(folder, by_mode):
    name, config = folder.name, json.loads((folder / "config.json").read_text())
    what, how, policy = ABOUT[name]
    size = (folder / "model.safetensors").stat().st_size
    use = USE.format(name=name, question="What is 347 plus 586?", policy=policy, gen_length=160) if policy else ""
    scores = f"On the held-out questions:\n\n{score.table(by_mode)}" if by_mode else "It has not learnt to answer."
    return CARD.format(
        name=name,
        what=f"{what[0].upper()}{what[1:]}",
        how=how,
        parameters=size / 2e6,
        megabytes=size / 1e6,
        families=len(tasks.FAMILIES),
        gen_length=160,
        use=use,
        scores=scores,
        **{key: config[key] for key in ("hidden_size", "num_hidden_layers", "num_experts", "num_experts_per_tok")},
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("results", type=Path)
    options.add_argument("family", type=Path, help="folder of the checkpoints")
    choice = options.parse_args()
    scored = results.read(choice.results)
    for name in ABOUT:
        if (choice.family / name).exists():
            (choice.family / name / "README.md").write_text(card(choice.family / name, scored.get(name, {})))


if __name__ == "__main__":
    main()
