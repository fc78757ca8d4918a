"""Rollouts for training by reinforcement, from several actors, with weights that change between rounds.

    pip install './bindings/python[ray]'
    python3 examples/python/ray_rollouts.py examples/models/held_out.jsonl examples/models/tiny-2.1 \\
        examples/models/tiny-2.1-rl --limit 16

Each checkpoint is what a trainer has written for its round, here two that the repository has. A round is a pass over
the questions with actors of its own, so that an actor that is lost and made again has the same weights. What EBPO would
gain by going from one round's weights to the next is what a trainer's step maximises (docs/scoring.md).
"""

import argparse
import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install './bindings/python[ray]'

import numpy as np
import ray
from ray_cluster import cluster

import llada
import llada.ray

# Sampled edits need some confidence, or they would never come to rest.
POLICY = llada.Policy.joint_threshold(threshold=0.5, editing_threshold=0.5, temperature=1.5)


def reward(row, generation):
    return float(generation.text.rstrip().endswith(row["final"]))


def rollouts(questions, checkpoint, choice):
    """Of each question, in their order."""
    rows = questions.map_batches(
        llada.ray.RolloutWorker,
        fn_constructor_kwargs={
            "model": str(Path(checkpoint).resolve()),
            "prompt": "question",
            "policy": POLICY,
            "n": choice.samples,
            "seeds": "seeds",
            "reward": reward,
            "gen_length": choice.gen_length,
        },
        compute=ray.data.ActorPoolStrategy(size=choice.hosts),
        num_cpus=choice.cpus,
        batch_size=4,
        batch_format="pyarrow",
    ).take_all()
    for row in rows:
        if row["error"]:
            sys.exit(f"{row['question']}: {row['error']}")
    return [row["rollouts"] for row in sorted(rows, key=lambda row: row["number"])]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("questions", type=Path)
    options.add_argument("checkpoints", nargs="+", help="the weights of each round")
    options.add_argument("--samples", type=int, default=8, help="of each question")
    options.add_argument("--gen-length", type=int, default=96, help="tokens at most")
    options.add_argument("--limit", type=int, default=32, help="no more questions of a round than that")
    options.add_argument("--address", help='of a cluster: "auto" for the one that this host belongs to')
    options.add_argument("--hosts", type=int, default=2, help="actors: one for each host, or each node of its memory")
    options.add_argument("--cpus", type=int, default=1, help="of each of them")
    choice = options.parse_args()

    with cluster(choice.address, choice.hosts, choice.cpus):
        rows = ray.data.read_json(str(choice.questions.resolve()), lines=True).limit(choice.limit).take_all()
        before = None
        for number, checkpoint in enumerate(choice.checkpoints):
            if before is not None:
                with llada.Model.load(before[0]) as old, llada.Model.load(checkpoint) as new:
                    groups = [group for group in before[1] if group.rewards.std() > 0]  # others teach nothing
                    gains = [llada.ebpo(new, g.noised([1, 2]), old, g.advantages).surrogates.mean() for g in groups]
                    print(f"  gain of {checkpoint}: {np.mean(gains):+.4f}, of {len(groups)} questions")
            rng = np.random.default_rng(number)
            asked = [
                {**row, "number": n, "seeds": rng.integers(2**63, size=choice.samples).tolist()}
                for n, row in enumerate(rows)
            ]
            data = ray.data.from_items(asked, override_num_blocks=2 * choice.hosts)
            before = checkpoint, rollouts(data, checkpoint, choice)
            rewards = np.concatenate([group.rewards for group in before[1]])
            print(f"round {number} with {checkpoint}: {len(rewards)} answers, reward {rewards.mean():.4f}")


if __name__ == "__main__":
    main()
