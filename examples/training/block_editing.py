"""What multiple block editing should be (spec/decoding.md section 7), measured on the validation questions: S mode in
PyTorch, many answers at a time, with finished blocks revisited in several ways. Our library does one of them; this is
what it was chosen by.

    python block_editing.py runs/5-editing/model --questions runs/validation.jsonl

A way of revisiting has a name, `KIND WINDOW ROUNDS`. In each, the last WINDOW blocks that hold generated tokens are run
as one block, and tokens are edited (T2T), but none is masked.

    after     when a block is done, up to ROUNDS forwards of the window
    unsure    the same, if the block was left with a token less likely than UNSURE
    end       the same, when the answer is done
    confirm   the forwards that would confirm a block without masks are those of the window, up to ROUNDS; then its own
    ride      the first forward of the next block takes the window along, which costs none; and `confirm` at the end
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import tasks
import tokenizer as tok
from documents import BLOCK
from model import load_hf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
import paired
import results
from results import Outcome

WAYS = ("off", "after 2 1", "after 3 1", "after 4 1", "unsure 3 1", "end 6 1", "end 6 2", "confirm 2 1", "confirm 3 1")
WAYS += ("confirm 3 2", "confirm 6 2", "ride 2 1", "ride 3 1")
GEN_LENGTH = 160
MAX_POST_STEPS = 16
UNSURE = 0.8


@dataclass(frozen=True)
class Way:
    kind: str = "off"
    window: int = 1
    rounds: int = 0

    @staticmethod
    def named(name):
        kind, *numbers = name.split()
        return Way(kind, *map(int, numbers))


@dataclass(frozen=True)
class Forward:
    """Tokens to run; those from `window` to `window_end` see each other. Wanted: the rows from `first` on."""

    ids: list
    first: int
    window: int = 0
    window_end: int = 0


def decode(prompt, mask, eos, threshold, editing_threshold, way):
    """A generator: yields a Forward, is sent (confidences, predictions) of the wanted rows. Returns (tokens, forwards,
    edits)."""
    start, ids, forwards, edits = len(prompt), list(prompt), 0, 0
    first_block, last = start // BLOCK, -(-(start + GEN_LENGTH) // BLOCK)
    ids += [mask] * ((first_block + 1) * BLOCK - start)

    def window_of(block):
        return max(first_block, block - way.window + 1) * BLOCK

    def edit(first, confidence, prediction, end):
        """T2T from `first` to `end`: how many tokens changed."""
        changed = 0
        for place in range(max(first, start), end):
            new = prediction[place - first]
            if ids[place] not in (mask, new) and new != mask and confidence[place - first] > editing_threshold:
                ids[place], changed = new, changed + 1
        return changed

    for block in range(first_block, last):
        low, high = block * BLOCK, (block + 1) * BLOCK
        if block > first_block:
            ids += [mask] * BLOCK
        post, looked, riding = 0, 0, way.kind == "ride" and block > first_block
        while True:
            masked = [place for place in range(max(low, start), high) if ids[place] == mask]
            post += not masked
            if post > MAX_POST_STEPS:
                break
            ending = eos in ids[max(low, start) :]
            confirming = way.kind == "confirm" or (way.kind == "ride" and ending)
            together = not masked and confirming and looked < way.rounds and window_of(block) < low
            looked += together
            if riding:
                asked = Forward(list(ids), window_of(block - 1), window_of(block - 1), low)
            elif together:
                asked = Forward(list(ids), window_of(block), window_of(block), high)
            else:
                asked = Forward(list(ids), low)
            riding = False
            confidence, prediction = yield asked
            forwards += 1
            changed = edit(asked.first, confidence, prediction, high)
            if masked:
                sure = [place for place in masked if confidence[place - asked.first] > threshold]
                sure = sure or [max(masked, key=lambda place: (confidence[place - asked.first], -place))]
                for place in sure:
                    ids[place] = prediction[place - asked.first]
            edits += changed
            if not masked and not changed:
                break
        unsure = min(confidence[low - asked.first :]) < UNSURE
        done = eos in ids[start:]
        if window_of(block) == low:
            pass  # alone, a block sees what it has seen
        elif way.kind == "after" or (way.kind == "unsure" and unsure) or (way.kind == "end" and done):
            for _ in range(way.rounds):
                asked = Forward(list(ids), window_of(block), window_of(block), high)
                confidence, prediction = yield asked
                forwards += 1
                changed = edit(asked.first, confidence, prediction, high)
                edits += changed
                if not changed:
                    break
        if eos in ids[start:]:
            break
    tokens = ids[start : start + GEN_LENGTH]
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens, forwards, edits


@torch.no_grad()
def run(model, asked):
    """[(confidences, predictions)] of the wanted rows of each forward."""
    width = max(len(forward.ids) for forward in asked)
    ids, positions = torch.zeros(len(asked), width, dtype=torch.long), torch.arange(width).expand(len(asked), -1)
    group, wanted = positions // BLOCK, torch.zeros(len(asked), width, dtype=torch.bool)
    group = group.clone()
    for row, forward in enumerate(asked):
        ids[row, : len(forward.ids)] = torch.tensor(forward.ids)
        group[row, forward.window : forward.window_end] = forward.window // BLOCK
        wanted[row, forward.first : len(forward.ids)] = True
    seen = group[:, None, :] <= group[:, :, None]
    top = model(ids, positions, seen, wanted).softmax(-1).max(-1)
    parts = [len(forward.ids) - forward.first for forward in asked]
    return [(c.tolist(), p.tolist()) for c, p in zip(top.values.split(parts), top.indices.split(parts))]


def answers(model, tokenizer, questions, way, threshold=0.5, editing_threshold=0.0, together=48):
    """An Outcome of each question, as score.py has it."""
    mask, eos = (tokenizer.token_to_id(token) for token in ("<|mask|>", "<|endoftext|>"))
    waiting, live, done = list(enumerate(questions))[::-1], {}, {}
    while waiting or live:
        while waiting and len(live) < together:
            index, question = waiting.pop()
            course = decode(tokenizer.encode(tok.chat(question.text)).ids, mask, eos, threshold, editing_threshold, way)
            live[index] = (course, next(course))
        # Those of a length run together.
        order = sorted(live, key=lambda index: len(live[index][1].ids))
        for some in (order[: len(order) // 2], order[len(order) // 2 :]):
            for index, found in zip(some, run(model, [live[index][1] for index in some]) if some else ()):
                course = live[index][0]
                try:
                    live[index] = (course, course.send(found))
                except StopIteration as end:
                    done[index] = end.value
                    del live[index]
    outcomes = []
    for index, question in enumerate(questions):
        tokens, forwards, edits = done[index]
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        final, strict = tasks.check(question, text)
        outcomes.append(Outcome(question.text, question.family, final, strict, len(tokens), forwards, edits, 1, text))
    return outcomes


def rows(name, after, before):
    """Of a way the differences from S mode without it, overall and in the families where later decides earlier."""
    both = paired.pairs(after, before)
    late = [pair for pair in both if pair[0].family in tasks.CONSISTENCY]
    score, ratio = results.percent([outcome.final for outcome in after])[0], paired.tpf_ratio(both)
    cells = [
        f"{gain:+.1f} ± {error:.1f}" for gain, error in (paired.points(late, "final"), paired.points(both, "final"))
    ]
    return (
        f"| {name} | {score:.1f} | {' | '.join(cells)} | {results.tpf(after):.2f} | {ratio[0]:.3f} ± {ratio[1]:.3f} |"
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("model", type=Path)
    options.add_argument("--questions", type=Path, required=True)
    options.add_argument("--per-family", type=int, default=40, metavar="N")
    options.add_argument("--ways", nargs="+", default=WAYS, metavar="WAY", help="those to compare, `off` the first")
    choice = options.parse_args()
    torch.set_num_threads(2)
    questions = tasks.read_jsonl(choice.questions)
    questions = [q for f in tasks.FAMILIES for q in [q for q in questions if q.family == f][: choice.per_family]]
    model, tokenizer = load_hf(choice.model), tok.load(choice.model)
    print("| revisited | final % | consistency families | all | TPF | TPF, ratio |\n|" + "---|" * 6)
    before = None
    for name in choice.ways:
        outcomes = answers(model, tokenizer, questions, Way.named(name))
        before = before or outcomes
        print(rows(name, outcomes, before), flush=True)


if __name__ == "__main__":
    main()
