"""What rank 0 does in the tests: `program.py TASK FOLDER NAME DTYPE`. It ends with a line of JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import llada
from conftest import NEAR_TIES, policy, runs

TIMEOUT = float(os.environ.get("CLUSTER_TIMEOUT", "20"))
SHARES = json.loads(os.environ.get("CLUSTER_SHARES", "null"))


def answers(model: llada.Model, name: str) -> dict:
    """What has to be the same on any number of ranks."""
    vocab = model.vocab_size
    ids = [(7 * i * i + 3) % (vocab - 8) for i in range(77)]
    ids = [1 if each in (model.mask_token_id, *model.eos_token_ids) else each for each in ids]
    found: dict = {"logits": hashlib.sha256(model.logits(ids, block_length=32).tobytes()).hexdigest()}
    with model.decoder(ids[:21], gen_length=64, eos_early_stop=False) as decoder:
        for _ in range(3):
            decoder.step()
        found["snapshot"] = hashlib.sha256(decoder.to_bytes(True)).hexdigest()
        decoder.run()
        found["tokens"] = decoder.tokens.tolist()
    return found


def judged(model: llada.Model) -> dict:
    """Everything that asks something of the head, each in its way: what has to be the same wherever it lies."""
    vocab = model.vocab_size
    ids = [(11 * i * i + 5) % (vocab - 8) for i in range(40)]
    ids = [1 if each in (model.mask_token_id, *model.eos_token_ids) else each for each in ids]
    bias = dict.fromkeys(range(7, vocab, 1111), 2.0)
    found: dict = {"logits": hashlib.sha256(model.logits(ids, block_length=32).tobytes()).hexdigest()}
    ways = {
        "greedy": {},
        "quality": {"policy": llada.Policy.quality()},
        "sampled": {"policy": llada.Policy.low_confidence(temperature=0.9, seed=5)},
        "top": {"policy": llada.Policy.low_confidence(temperature=0.9, top_k=9, top_p=0.8, seed=5)},
        "biased": {"logit_bias": bias},
        "biased everywhere": {"logit_bias": dict.fromkeys(range(0, vocab, 100), 1.0)},
    }
    for name, way in ways.items():
        with model.decoder(ids, gen_length=32, eos_early_stop=False, **way) as decoder:
            decoder.forward()
            found[f"{name}, first"] = [decoder.predictions.tolist(), decoder.confidences.tolist()]
            decoder.propose()
            decoder.apply()
            found[name] = decoder.run().tokens.tolist()
    with model.decoder(ids, gen_length=32, eos_early_stop=False) as decoder:
        decoder.ban(700)
        decoder.forward()
        position = decoder.active[3]
        found["candidates"] = [list(each) for each in decoder.candidates(position, 9)]
        found["row"] = hashlib.sha256(decoder.logits(position).tobytes()).hexdigest()
        restored = model.restore(decoder.to_bytes(True))
        found["after"] = [restored.run().tokens.tolist(), decoder.run().tokens.tolist()]
    noisy = [model.mask_token_id if i % 3 else each for i, each in enumerate(ids)]
    scores = model.score(ids, [noisy], entropies=True)
    found["scores"] = hashlib.sha256(scores.log_probs.tobytes()).hexdigest()
    prompts = [ids[:n] for n in (9, 20, 33)]
    found["many"] = [answer.tokens.tolist() for answer in model.generate_many(prompts, gen_length=32)]
    return found


def conformance(model: llada.Model, name: str) -> int:
    """Compares with what the reference implementation has decoded. Returns how many runs that were."""
    count = 0
    for run in runs(name)[::9]:
        if (
            run["algo"] in ("hf20", "hf21")
            and not run["tie_ambiguous"]
            and f"{run['algo']}-{run['id']}" not in NEAR_TIES
        ):
            options = {key: run[key] for key in ("block_length", "gen_length", "eos_early_stop")}
            with model.decoder(run["prompt"], policy=policy(run), **options) as decoder:
                decoder.run()
                assert decoder.tokens.tolist() == run["output"], run["id"]
                assert decoder.forwards == run["forwards"], run["id"]
            count += 1
    return count


def formula(cluster: llada.Cluster, model: llada.Model, found: dict) -> None:
    """A step of 32 positions: what was sent and received, and the experts that each row had in each layer."""
    decoder = model.decoder(list(range(1, 33)), gen_length=32, eos_early_stop=False)
    decoder.watch(routing=True)
    decoder.forward()
    decoder.propose()
    decoder.apply()
    before = cluster.info
    decoder.forward()
    after = cluster.info
    layers = range(model.info.first_k_dense_replace, model.info.num_hidden_layers)
    found["sent"] = after.bytes_sent - before.bytes_sent
    found["received"] = after.bytes_received - before.bytes_received
    found["experts"] = [decoder.routing(layer).experts.tolist() for layer in layers]


def usage(model: llada.Model) -> list[list[int]]:
    """How often each expert is chosen: what a placement by usage goes by."""
    with model.decoder(list(range(1, 60)), gen_length=64, eos_early_stop=False) as decoder:
        decoder.watch(routing=True)
        return decoder.run().expert_usage.tolist()


def stages(model: llada.Model, load, found: dict) -> None:
    """Decodes, and if a rank fails, goes on without the others."""
    with model.decoder(list(range(1, 40)), gen_length=32, eos_early_stop=False) as decoder:
        try:
            decoder.run()
        except llada.ClusterError as problem:
            found |= {"error": type(problem).__name__, "message": str(problem)}
            snapshot = decoder.to_bytes()
            if "CLUSTER_SNAPSHOT" in os.environ:
                Path(os.environ["CLUSTER_SNAPSHOT"]).write_bytes(snapshot)
            with load() as alone, alone.restore(snapshot) as resumed:
                resumed.run()
                found["tokens"] = resumed.tokens.tolist()
        else:
            found["tokens"] = decoder.tokens.tolist()


def at_once(model: llada.Model) -> list[list[int]]:
    """Answers of several threads that use one model."""
    found: dict[int, list[int]] = {}

    def answer(number: int) -> None:
        with model.decoder(list(range(1 + number, 30 + number)), gen_length=64, eos_early_stop=False) as decoder:
            decoder.run()
            found[number] = decoder.tokens.tolist()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in sorted(found)]


def main() -> None:
    task, folder, name, dtype = sys.argv[1:5]
    run = runs(name)[0]
    options = {"dtype": dtype, "threads": 1, "mask_token_id": run["mask_id"]}
    if "eos_id" in run:
        options["eos_token_id"] = run["eos_id"]
    if "CLUSTER_USAGE" in os.environ:
        options["expert_usage"] = json.loads(os.environ["CLUSTER_USAGE"])
    if os.environ.get("CLUSTER_MMAP"):
        options["use_mmap"] = True
    result: dict = {}

    def load() -> llada.Model:
        return llada.Model.load(folder, **options)

    if task == "alone":
        with load() as model:
            result = answers(model, name)
    elif task == "judged alone":
        with load() as model:
            result = judged(model)
    elif task == "stages alone":
        with load() as model:
            stages(model, load, result)
    elif task == "threads alone":
        with load() as model:
            result["threads"] = at_once(model)
    else:
        started = time.monotonic()
        try:
            with llada.Cluster(timeout=TIMEOUT, shares=SHARES) as cluster:
                if task == "opening":
                    hand_over()
                started = time.monotonic()
                if task == "usage":
                    with llada.Model.load(folder, cluster=cluster, **options) as model:
                        options["expert_usage"] = result["usage"] = usage(model)
                with llada.Model.load(folder, cluster=cluster, **options) as model:
                    if task in ("answers", "formula", "usage"):
                        result |= answers(model, name)
                        if os.environ.get("CLUSTER_CONFORMANCE"):
                            result["runs"] = conformance(model, name)
                    if task == "judged":
                        result["judged"] = judged(model)
                    if task in ("formula", "usage"):
                        formula(cluster, model, result)
                    if task == "stages":
                        stages(model, load, result)
                    if task == "threads":
                        result["threads"] = at_once(model)
                    if task == "resume":
                        with model.restore(Path(os.environ["CLUSTER_SNAPSHOT"]).read_bytes()) as decoder:
                            decoder.run()
                            result["tokens"] = decoder.tokens.tolist()
                    if task == "patience":
                        time.sleep(3 * TIMEOUT)
                        result |= answers(model, name)
                    if task in ("idle", "closing"):
                        model.logits([1, 2, 3])
                        hand_over()
                        started = time.monotonic()
                    if task == "idle":
                        model.logits([1, 2, 3])
                    if task == "faults":
                        result = faults(model, options, folder)
                result["info"] = cluster.info._asdict()
        except llada.Error as problem:
            result |= {"error": type(problem).__name__, "message": str(problem)}
        result["seconds"] = time.monotonic() - started
    print("\nRESULT " + json.dumps(result), flush=True)


def hand_over() -> None:
    """Lets the test do something to a rank, and waits until it has."""
    Path(os.environ["CLUSTER_READY"]).touch()
    while not Path(os.environ["CLUSTER_GO"]).exists():
        time.sleep(0.01)


def faults(model: llada.Model, options: dict, folder: str) -> dict:
    """Decodes until a rank fails; then again, at once; then goes on from a snapshot without the cluster."""
    ids = list(range(1, 40))
    ready = Path(os.environ["CLUSTER_READY"])
    decoder = model.decoder(ids, gen_length=64, eos_early_stop=False)
    decoder.step()
    ready.touch()
    started = time.monotonic()
    found: dict = {"steps": 0}
    while True:
        try:
            if decoder.finished:
                decoder = model.decoder(ids, gen_length=64, eos_early_stop=False)
            decoder.step()
            started = time.monotonic()
            found["steps"] += 1
        except llada.ClusterError as problem:
            found |= {"error": type(problem).__name__, "message": str(problem)}
            found["waited"] = time.monotonic() - started
            break
    started = time.monotonic()
    try:
        decoder.step()
    except llada.ClusterError as problem:
        found["again"] = str(problem)
    found["again_after"] = time.monotonic() - started
    snapshot = decoder.to_bytes()
    with llada.Model.load(folder, **options) as alone:
        resumed = alone.restore(snapshot)
        resumed.run()
        with alone.decoder(ids, gen_length=64, eos_early_stop=False) as fresh:
            fresh.run()
            found["resumed"] = resumed.tokens.tolist() == fresh.tokens.tolist()
    return found


if __name__ == "__main__":
    main()
