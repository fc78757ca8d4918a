# %% [markdown]
# # From loading a model to a decoding policy of your own, and what it is worth
#
# Run it as a script (`python3 examples/python/tutorial.py`, a minute or two; pictures go to a folder `tutorial`, or the
# one you name), or cell by cell: editors and Jupyter (with jupytext) take the `# %%` marks for cells.
# It needs the package (`pip install './bindings/python[pictures]'`, or `make` and matplotlib) and a checkout, for the
# small models and their questions.

# %%
import sys
import time
from pathlib import Path

here = Path(__file__).resolve().parent if "__file__" in globals() else Path.cwd()
checkout = next(folder for folder in (here, *here.parents) if (folder / "examples" / "models").is_dir())
for folder in (
    "bindings/python",
    "examples/evaluation",
    "examples/training",
):  # the first: not needed after pip install
    sys.path.insert(0, str(checkout / folder))

import numpy as np

import llada

out = Path(sys.argv[1] if len(sys.argv) > 1 and not sys.argv[0].endswith("ipykernel_launcher.py") else "tutorial")
out.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. Load, and ask
# A model is a folder. `generate` turns a question into an answer; what comes back also says what it took.

# %%
model = llada.Model.load(checkout / "examples" / "models" / "tiny-2.1")
print(model)
answer = model.generate("What is 347 plus 586?", policy=llada.Policy.quality(), gen_length=64)
print(answer.text)
print(f"{len(answer.tokens)} tokens in {answer.forwards} forwards: {answer.tpf:.2f} a forward, {answer.edits} edits")

# %% [markdown]
# ## 2. Step, and look
# The canvas begins as masks. A step is forward, propose, apply; between any two you can look and interfere. Here: what
# the first forward predicts, how sure it is, and what the policy makes of it. In S mode a mask is filled where the
# confidence is above one half.

# %%
question = (
    "Hana has 3 cards. She buys 3 bags of 2 cards. She loses 5. Hana finds 6 more. "
    "How many cards does Hana have in the end?"
)
dec = model.decoder(question, policy=llada.Policy.speedy(), gen_length=64)
dec.forward()
rows = dec.rows  # the positions at work, as arrays
for position, token, confidence in zip(
    rows.positions[rows.masked], rows.predictions[rows.masked], rows.confidences[rows.masked]
):
    print(f"  {position}: {model.tokenizer.decode([token])!r:10} {confidence:.3f}")
print("proposed:", [(edit.position, edit.reason) for edit in dec.propose()])
dec.apply()
print(dec.draw(color=sys.stdout.isatty()))  # in a notebook, a cell that ends with `dec` shows it

# %% [markdown]
# ## 3. Record, and see it happen
# A trace holds every forward. It can be played in the terminal, drawn, saved, and done again to the last bit. Look how
# S mode writes a draft, and then edits what does not add up.

# %%
dec = model.decoder(question, policy=llada.Policy.speedy(), gen_length=64)
with dec.record() as trace:
    dec.run()
trace.play(delay=0.2)
trace.html(out / "draft.html")  # open it in a browser; in a notebook, a cell that ends with `trace` shows the same
trace.heat_map(out / "draft.png")
print("replayed:", trace.replay(model) or "the same, bit for bit")

# %% [markdown]
# ## 4. A policy of your own
# S mode judges each mask alone: sixteen tokens at 0.6 each are all written, though all of them together are hardly
# right. Our rule judges them together: it fills masks, surest first, for as long as the chance that *all* are right
# (the product of their confidences) stays above `risk`, and at least one. Edits are left to the policy: a rule finds
# them in `dec.proposal`.


# %%
class Together:
    """Fills masks for as long as all of them together are likely enough."""

    def __init__(self, risk: float) -> None:
        self.risk = risk

    def __call__(self, dec: llada.Decoder) -> list:
        edits = [edit for edit in dec.proposal if edit.reason in ("edit", "post_edit")]
        masked = dec.masked
        surest_first = masked[np.argsort(-dec.confidences[masked], kind="stable")]
        likely = int((np.cumprod(dec.confidences[surest_first]) > self.risk).sum())
        return edits + list(surest_first[: max(1, likely)])  # a position alone: the token predicted there


trial = model.generate(
    question,
    policy=llada.Policy.speedy(),
    rule=Together(0.3),
    block_length=32,
    gen_length=64,
    record=out / "together.jsonl",
)
trial.trace.play(delay=0.2)
trial.trace.html(out / "together.html")
print(
    f"{trial.forwards} forwards and {trial.edits} edits; S mode alone: {trace.result.forwards} and {trace.result.edits}"
)

# %% [markdown]
# ## 5. What is it worth?
# One question says nothing. The checkout has 2,500 held-out ones with a checker; fifty of each of the ten families give
# a first picture in a minute, with errors of a point (`score.py` runs all). `generate_many` decodes several at a time.

# %%
import results
import score
import tasks

PER_FAMILY = 50
questions = score.chosen(tasks.read_jsonl(checkout / "examples" / "models" / "held_out.jsonl"), PER_FAMILY)


def scored(name: str, policy: llada.Policy, rule=None) -> tuple[str, float, float, float]:
    """Tokens per forward, per cent right in every worked step, and its standard error."""
    began, right, tokens, forwards = time.monotonic(), [], 0, 0
    answers = model.generate_many(
        [q.text for q in questions], policy, gen_length=96, rule=rule, in_flight=16, progress=False
    )
    for question, answer in zip(questions, answers):
        right.append(tasks.check(question, answer.text)[1])
        tokens, forwards = tokens + len(answer.tokens), forwards + answer.forwards
    share, error = results.percent(right)
    seconds = time.monotonic() - began
    print(f"  {name:14} {share:5.1f} ± {error:.1f} %   {tokens / forwards:.2f} a forward   {seconds:.0f} s")
    return name, tokens / forwards, share, error


curves = {
    "S mode, thresholds": [scored(f"S@{t}", llada.Policy.speedy(threshold=t)) for t in (0.5, 0.7, 0.8, 0.9)],
    "together, risks": [scored(f"together {r}", llada.Policy.speedy(), Together(r)) for r in (0.1, 0.3, 0.5, 0.7)],
}

# %% [markdown]
# ## 6. Its place in the picture
# A policy is a curve: what it asks of the model against what it gets. Better is up and to the right. The bars are
# standard errors: where they overlap, these questions do not tell the two apart. So it is here: on this model, which
# repairs its drafts, judging masks together is one more way to be careful, no better a one than a threshold. That, too,
# is worth knowing before it is believed.

# %%
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

figure = Figure(figsize=(7, 4.2), layout="constrained")
FigureCanvasAgg(figure)
axes = figure.subplots()
for (label, points), colour, marker, above in zip(curves.items(), ("#0969da", "#d9480f"), "os", (22, -30)):
    names, tpf, share, error = zip(*points)
    axes.errorbar(tpf, share, error, color=colour, marker=marker, capsize=3, label=label)
    for name, x, y in zip(names, tpf, share):
        axes.annotate(
            name.split("@")[-1].split(" ")[-1],
            (x, y),
            xytext=(0, above),
            ha="center",
            textcoords="offset points",
            fontsize=8,
            color=colour,
        )
axes.set(
    xlabel="tokens per forward",
    ylabel="right in every worked step, %",
    title=f"tiny-2.1, {len(questions)} held-out questions",
    ylim=(85, 100),
)
axes.grid(color="#d0d7de", linewidth=0.6)
axes.legend(frameon=False)
figure.savefig(out / "tutorial.png", dpi=110)
print(f"pictures: {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")

# %% [markdown]
# Next: other rules in `policies/`, the presets swept over all questions with `score.py` and `tradeoff.py`, and the same
# from C and Swift in `../c` and `../swift`.
