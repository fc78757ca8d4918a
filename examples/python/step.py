"""A decoder driven by hand: look at each forward, see what the policy makes of it, then overrule the model once.

python3 examples/python/step.py "What is 17 plus 25?"
"""

import argparse
import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada


def main() -> None:
    models = checkout / "examples" / "models"
    default = next((folder.parent for folder in sorted(models.glob("*/config.json"))), None)
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("prompt", nargs="*", default=["What is 17 plus 25?"], help="a question")
    options.add_argument("--model", default=default, required=default is None, help="a llada2_moe checkpoint")
    options.add_argument("--gen-length", type=int, default=32, help="tokens at most")
    choice = options.parse_args()

    with llada.Model.load(choice.model) as model:
        tokenizer = model.tokenizer

        def show(token: int) -> str:
            if token == model.mask_token_id:
                return "░"
            return repr(tokenizer.decode([token])) if tokenizer else str(token)

        def table(dec: llada.Decoder) -> None:
            proposed = {edit.position: edit for edit in dec.proposal}
            print(f"  {'position':>8}  {'now':16} {'prediction':16} {'sure':>5}  {'runners-up':26} proposal")
            canvas, states, confidences = dec.canvas, dec.states, dec.confidences
            for position in dec.active:
                if states[position] == llada.State.PROMPT:
                    continue
                best, *others = dec.candidates(position, k=3)
                edit = proposed.get(position)
                print(
                    f"  {position:8}  {show(canvas[position]):16} {show(best.token):16} {confidences[position]:5.2f}  "
                    f"{'  '.join(f'{show(c.token)} {c.probability:.2f}' for c in others):26} "
                    + (f"write {show(edit.token)} ({edit.reason})" if edit else "")
                )

        overruled = None
        with model.decoder(" ".join(choice.prompt), policy=llada.Policy.speedy(), gen_length=choice.gen_length) as dec:
            while not dec.finished:
                # The three parts of a step. Between any two we may look, and change what we like.
                dec.forward()
                dec.propose()
                print(f"\n{dec!r}")
                table(dec)
                for event in dec.apply():
                    if event.position == overruled:
                        who = "we wrote" if event.reason == "host" else "the model answers our override with"
                        print(f"  -> {event.position}: {who} {show(event.new)} in place of {show(event.old)}")

                # Once: in place of the first token it wrote, the second-best choice. Will it put up with that?
                if overruled is None and len(dec.drafts):
                    overruled = int(dec.drafts[0])
                    runner_up = dec.candidates(overruled, k=2)[1]
                    dec.set(overruled, runner_up.token)

            print(f"\n{dec.text if tokenizer else dec.tokens}\n")
            if overruled is not None:
                print(
                    f"overruled at {overruled} with {show(runner_up.token)}; there now: {show(dec.canvas[overruled])}"
                )
            print(f"{dec.forwards} forwards, {dec.edits} edits, finished by {dec.finish_reason}")


if __name__ == "__main__":
    try:
        main()
    except (llada.Error, KeyboardInterrupt) as problem:
        sys.exit(str(problem) or "stopped")
