"""Best of n: one beginning, n ways to go on. Forks share what was computed up to there, draw with seeds of their own,
and run together; the answer that most of them reach wins, the surest of those.

    python3 examples/python/best_of_n.py "Run this program: b = 7; a = b - 7; a = a + 5; print a" -n 8
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada


def final(text: str) -> str:
    """What the votes are about: the shipped models end with "Answer: ..."."""
    return text.rpartition("Answer:")[2].strip().rstrip(".")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument(
        "prompt", nargs="*", default=["Run this program: b = 7; a = b - 7; a = a + 5; print a"], help="a question"
    )
    options.add_argument(
        "--model", default=checkout / "examples" / "models" / "tiny-2.1", help="a llada2_moe checkpoint"
    )
    options.add_argument("-n", type=int, default=8, help="how many")
    options.add_argument("--temperature", type=float, default=1.0)
    options.add_argument("--gen-length", type=int, default=128, help="tokens at most")
    choice = options.parse_args()

    policy = llada.Policy.speedy(temperature=choice.temperature)
    with llada.Model.load(choice.model) as model:
        trunk = model.decoder(" ".join(choice.prompt), policy, gen_length=choice.gen_length)
        first = trunk.step()  # over the prompt, and over the answer once: the same for all
        forks = [trunk.fork(seed=seed) for seed in range(1, choice.n + 1)]

        # position -> confidence of the token that was written there last
        sure = [{event.position: event.confidence for event in first.events} for _ in forks]
        while working := [i for i, fork in enumerate(forks) if not fork.finished]:
            for i, step in zip(working, llada.step_many(forks[i] for i in working)):
                sure[i].update((event.position, event.confidence) for event in step.events)

        def confidence(i: int) -> float:
            written = [sure[i].get(forks[i].prompt_length + k, 0.0) for k in range(len(forks[i].tokens))]
            return sum(written) / max(1, len(written))

        answers = [final(fork.text) for fork in forks]
        votes = Counter(answers)
        best = max(range(len(forks)), key=lambda i: (votes[answers[i]], confidence(i)))
        for i, fork in enumerate(forks):
            mark, agree = "*" if i == best else " ", votes[answers[i]]
            print(f"{mark} seed {i + 1}  {confidence(i):.3f}  {agree} of {choice.n}  {fork.text}")

        forked = trunk.computed_positions + sum(fork.computed_positions for fork in forks)
        apart = choice.n * trunk.computed_positions + sum(fork.computed_positions for fork in forks)
        print(f"\n{answers[best]}\n{forked} positions computed; {choice.n} separate runs: {apart}")


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
