"""What each step of the papers is worth on our checkpoints, paired over the same questions, as Markdown.

    python3 examples/evaluation/effects.py results.json

Reads what score.py wrote. Errors are standard errors: of the differences within a question for scores, of a bootstrap
over questions for the ratio of tokens per forward.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "examples" / "training"))

import results
import tasks
from paired import Pair, pairs, points, tpf_ratio
from results import Outcome, Results

SPANNING = 0.5  # multiple block editing is asked of families with more than this share of answers over several blocks


@dataclass(frozen=True)
class Effect:
    name: str
    after: tuple[str, str]  # checkpoint, mode
    before: tuple[str, str]
    reported: str = ""  # by the authors: tokens per forward, score
    families: Callable[[list[Outcome]], Collection[str]] | None = None  # those it is asked of, if not all; of `before`


def spanning(outcomes: list[Outcome]) -> dict[str, float]:
    """The families most of whose answers touch two blocks or more, with the share of those."""
    families = results.by_family(outcomes).items()
    shares = {family: sum(o.blocks > 1 for o in part) / len(part) for family, part in families}
    return {family: share for family, share in shares.items() if share > SPANNING}


def consistency(outcomes: list[Outcome]) -> Collection[str]:
    """The families in whose answers what comes later decides what came before."""
    return tasks.CONSISTENCY


DRAFTING, EDITING, EDITED = ("tiny-2.0", "2.0"), ("tiny-2.1", "S"), ("tiny-2.1", "S-mbe")
MBE = Effect("MBE, answers over several blocks", EDITED, EDITING, families=spanning)
MOVING = ("tiny-2.2", "L")
RL = Effect("RL", ("tiny-2.1-rl", "S"), EDITING, "higher")
EFFECTS = (
    Effect("CAP", ("tiny-2.0-cap", "2.0"), DRAFTING, "1.46, -1.7"),
    Effect("2.1, S mode", EDITING, DRAFTING, "1.9, -0.1 to -1.3"),
    Effect("2.1, Q mode", ("tiny-2.1", "Q"), DRAFTING, "1.2, +0.5 to +1.1"),
    Effect("S mode, not Q", EDITING, ("tiny-2.1", "Q"), "faster, lower"),
    Effect("T2T editing", EDITING, ("tiny-2.1", "S-noedit"), "higher"),
    Effect("MBE", EDITED, EDITING, "0.88, +0.6 to +2"),
    Effect("MBE, later decides earlier", EDITED, EDITING, families=consistency),
    MBE,
    RL,
    Effect("2.2, a quarter of the experts", MOVING, EDITING),
    Effect("insertions and deletions", MOVING, ("tiny-2.2", "L-nomove")),
    Effect("DPO in RL's place", ("tiny-2.1-dpo", "S"), EDITING),
)


def pm(estimate: tuple[float, float]) -> str:
    return f"{estimate[0]:+.1f} ± {estimate[1]:.1f}"


def compared(effect: Effect, scored: Results) -> list[Pair]:
    """Empty where a run is missing, or has no question in common with the other."""
    after, before = (scored.get(checkpoint, {}).get(mode, []) for checkpoint, mode in (effect.after, effect.before))
    if effect.families:
        families = effect.families(before)
        before = [outcome for outcome in before if outcome.family in families]
    return pairs(after, before)


def row(effect: Effect, both: list[Pair]) -> str:
    ratio, error = tpf_ratio(both)
    runs = f"{', '.join(effect.after)} / {', '.join(effect.before)}"
    return (
        f"| {effect.name} | {runs} | {len(both)} | {ratio:.2f} ± {error:.2f} | {pm(points(both, 'final'))} "
        f"| {pm(points(both, 'strict'))} | {effect.reported} |"
    )


def families_table(both: list[Pair]) -> str:
    """An effect family by family, and on how many of them it gains, or loses more than a point."""
    lines = ["| family | questions | before, final % | after, final % | final | strict | TPF |", "|---" * 7 + "|"]
    gains = []
    for family, answered in results.by_family(after for after, _ in both).items():
        part = pairs(answered, (before for _, before in both))
        after, before = (results.percent([o.final for o in side])[0] for side in zip(*part))
        ratio, error = tpf_ratio(part)
        gains.append(after - before)
        lines.append(
            f"| {family} | {len(part)} | {before:.1f} | {after:.1f} | {pm(points(part, 'final'))} "
            f"| {pm(points(part, 'strict'))} | {ratio:.2f} ± {error:.2f} |"
        )
    higher, lower = sum(gain > 0 for gain in gains), sum(gain < -1 for gain in gains)
    return "\n".join(lines) + (
        f"\n\nHigher on {higher} of {len(gains)} families, lower by more than a point on {lower}."
    )


def levels_table(scored: Results) -> str:
    """Per cent right at each level of difficulty; of some runs, by family as well."""
    levels = sorted({o.level for by_mode in scored.values() for outcomes in by_mode.values() for o in outcomes})
    lines = [f"| checkpoint, mode | family | {' | '.join(f'level {level}, %' for level in levels)} |"]
    lines.append("|---" * (len(levels) + 2) + "|")
    for checkpoint, by_mode in scored.items():
        for mode, outcomes in by_mode.items():
            families = results.by_family(outcomes) if (checkpoint, mode) in (DRAFTING, EDITING) else {}
            for family, part in {**families, "all": outcomes}.items():
                right = [[o.final for o in part if o.level == level] for level in levels]
                cells = ["{:.1f} ± {:.1f}".format(*results.percent(some)) if some else "" for some in right]
                lines.append(f"| {checkpoint}, {mode} | {family} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("results", type=Path, help="what score.py wrote")
    scored = results.read(options.parse_args().results)

    print("| effect | after / before | questions | TPF, ratio | final, points | strict, points | in the reports |")
    print("|---" * 7 + "|")
    for effect in EFFECTS:
        if both := compared(effect, scored):
            print(row(effect, both))
        else:
            print(f"{effect.name}: {effect.after} and {effect.before} are not both in the results", file=sys.stderr)
    if compared(MBE, scored):
        checkpoint, mode = MBE.before
        families = spanning(scored[checkpoint][mode]).items()
        shares = ", ".join(f"{family} {100 * share:.0f} %" for family, share in families)
        print(f"\nMBE: over the families most of whose answers span blocks ({shares}).")
    if both := compared(RL, scored):
        print(f"\n### RL by family, S mode\n\n{families_table(both)}")
    print(f"\n### By level\n\n{levels_table(scored)}")


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        sys.exit(str(problem))
