"""How many times faster one pass scores a sequence than block after block.

    python3 examples/evaluation/scoring_speed.py MODEL [--lengths 512 1024 2048] [--versions 1 8] [--rounds 3]
        [--dtype DTYPE]

A random sequence and noisy versions of it (half of the tokens masked) are scored three ways, which must agree:

one pass      Model.score
cached        for each block of each version a forward of that block, on keys and values of the clean blocks before it
               (a decoder and a prefix cache): what it says is the confidences, to the bit those of the pass
not cached    for each block of each version the logits of all clean blocks before it and of itself: log-probabilities
               within 1e-4

Prints a table: the median time of the pass, and of each round's ratios the median. One thread, and the processor's time
rather than the clock's, so that what else the machine does shows less.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))
import llada  # noqa: E402

BLOCK = 32


def cached(model, tokens, noisy):
    """Confidences [versions, n]; NaN where nothing is masked."""
    found = np.full(noisy.shape, np.nan, np.float32)
    with model.prefix_cache(1 << 40) as cache:
        for start in range(0, len(tokens), BLOCK):
            place = slice(start, start + BLOCK)
            for version, row in enumerate(noisy):
                prompt = np.concatenate([tokens[:start], row[place]])
                with model.decoder(prompt, block_length=BLOCK, gen_length=0, infill=True, prefix_cache=cache) as dec:
                    dec.forward()
                    masked = row[place] == model.mask_token_id
                    found[version, place][masked] = dec.confidences[place][masked]
    return found


def not_cached(model, tokens, noisy):
    """Log-probabilities [versions, n]; NaN where nothing is masked."""
    found = np.full(noisy.shape, np.nan)
    for start in range(0, len(tokens), BLOCK):
        place = slice(start, start + BLOCK)
        for version, row in enumerate(noisy):
            logits = model.logits(np.concatenate([tokens[:start], row[place]]), BLOCK)[place].astype(np.float64)
            top = logits.max(axis=1, keepdims=True)
            log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
            masked = row[place] == model.mask_token_id
            found[version, place][masked] = log_p[np.arange(BLOCK), tokens[place]][masked]
    return found


def timed(function, *arguments):
    started = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048], help=f"multiples of {BLOCK}")
    parser.add_argument("--versions", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| tokens | versions | one pass, ms | faster than cached, times | faster than not cached, times |")
    print("|---|---|---|---|---|")
    with llada.Model.load(args.model, dtype=args.dtype, threads=1) as model:
        for length in args.lengths:
            for versions in args.versions:
                tokens = rng.integers(0, model.mask_token_id, length).astype(np.int32)
                noisy = np.where(rng.random((versions, length)) < 0.5, np.int32(model.mask_token_id), tokens)
                noisy[:, ::BLOCK] = model.mask_token_id  # every block has something to score
                passes, of_cached, of_not_cached = [], [], []
                for _ in range(args.rounds):
                    score, seconds = timed(model.score, tokens, noisy)
                    confidences, with_cache = timed(cached, model, tokens, noisy)
                    log_probs, without = timed(not_cached, model, tokens, noisy)
                    assert np.array_equal(score.confidences, confidences, equal_nan=True)
                    assert np.nanmax(np.abs(score.log_probs - log_probs)) < 1e-4
                    passes.append(seconds)
                    of_cached.append(with_cache / seconds)
                    of_not_cached.append(without / seconds)
                print(
                    f"| {length} | {versions} | {1e3 * statistics.median(passes):.0f} "
                    f"| {statistics.median(of_cached):.1f} | {statistics.median(of_not_cached):.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
