"""Answers the questions of a held-out file over the hosts of a Ray cluster, and counts the right ones.

    pip install './bindings/python[ray]'
    python3 examples/python/ray_evaluate.py examples/models/held_out.jsonl --limit 100
    python3 examples/python/ray_evaluate.py QUESTIONS.jsonl --model CHECKPOINT --address auto --hosts 4 --cpus 32

Without --address, two nodes of a cluster are made on this machine. Each line of the file is an object with "question"
and "final", which the answer of a right one ends with.
"""

import argparse
import sys
import time
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install './bindings/python[ray]'

import ray
from ray_cluster import cluster

import llada
import llada.ray


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("questions", type=Path)
    options.add_argument("--model", default=checkout / "examples" / "models" / "tiny-2.1", help="the same on all hosts")
    options.add_argument("--dtype", default="auto", help="as for llada.Model.load")
    options.add_argument("--gen-length", type=int, default=128, help="tokens at most")
    options.add_argument("--in-flight", type=int, default=8, help="prompts at a time, of each actor")
    options.add_argument("--limit", type=int, help="no more questions than that")
    options.add_argument("--address", help='of a cluster: "auto" for the one that this host belongs to')
    options.add_argument("--hosts", type=int, default=2, help="actors: one for each host, or each node of its memory")
    options.add_argument("--cpus", type=int, default=1, help="of each of them")
    options.add_argument("--out", type=Path, help="a folder for the answers, in Parquet files")
    choice = options.parse_args()

    with cluster(choice.address, choice.hosts, choice.cpus):
        evaluate(choice)


def evaluate(choice: argparse.Namespace) -> None:
    questions = ray.data.read_json(str(choice.questions.resolve()), lines=True)
    if choice.limit is not None:
        questions = questions.limit(choice.limit)
    batch = max(choice.in_flight, min(256, -(-questions.count() // (2 * choice.hosts))))  # two or more for each actor
    answers = questions.repartition(target_num_rows_per_block=batch).map_batches(
        llada.ray.Generator,
        fn_constructor_kwargs={
            "model": str(Path(choice.model).resolve()),
            "prompt": "question",
            "policy": llada.Policy.speedy(),
            "load": {"dtype": choice.dtype},
            "in_flight": choice.in_flight,
            "gen_length": choice.gen_length,
        },
        compute=ray.data.ActorPoolStrategy(size=choice.hosts),
        num_cpus=choice.cpus,
        batch_size=batch,
        batch_format="pyarrow",
    )
    started = time.monotonic()
    if choice.out:
        answers.write_parquet(str(choice.out.resolve()))
        answers = ray.data.read_parquet(str(choice.out.resolve()))
    rows = answers.take_all()
    seconds = time.monotonic() - started
    answered = [row for row in rows if row["error"] is None]
    right = sum(row["answer"].rstrip().endswith(row["final"]) for row in answered)
    tokens, forwards = sum(len(row["tokens"]) for row in answered), sum(row["forwards"] for row in answered)
    print(f"{right} of {len(rows)} right, {len(rows) - len(answered)} not answered")
    print(f"{seconds:.1f} s, {tokens / seconds:.0f} tokens/s, {tokens / max(1, forwards):.2f} per forward")


if __name__ == "__main__":
    main()
