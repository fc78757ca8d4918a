"""Score against tokens per forward, thresholds swept: a curve for each checkpoint and kind of policy. Needs matplotlib.

    python3 examples/evaluation/score.py examples/models/tiny-2.1 --modes S S@0.3 S@0.7 S@0.9
    python3 examples/evaluation/tradeoff.py results.json tradeoff.png

Reads what score.py wrote. Bars are standard errors; a preset is at the threshold that its name stands for.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import modes
import results
from results import Results

INK, PALE = "#24292f", "#d0d7de"
COLOURS = {
    "tiny-base": "#8c959f",
    "tiny-2.0": "#0969da",
    "tiny-2.0-cap": "#1b9e77",
    "tiny-2.1": "#d9480f",
    "tiny-2.1-rl": "#8250df",
    "tiny-2.1-dpo": "#bf3989",
}
# Line and mark by kind of policy.
STYLES = {
    "2.0": ("-", "o"),
    "S": ("-", "D"),
    "S-noedit": (":", "^"),
    "Q": ("--", "s"),
    "S-mbe": ("", "P"),
    "Q-mbe": ("", "X"),
}
PRESET = {"markerfacecolor": "white", "markeredgewidth": 2, "markersize": 8}
NAMES = {
    "2.0": "2.0: low confidence",
    "S": "S: editing at 0",
    "Q": "Q: editing at 0.5",
    "S-noedit": "S without editing",
    "S-mbe": "S with MBE",
    "Q-mbe": "Q with MBE",
}
TITLES = {"final": "right answers, %", "strict": "right in every worked step, %"}


@dataclass(frozen=True)
class Point:
    mode: str
    tpf: float
    scores: dict[str, tuple[float, float]]  # by panel: per cent and standard error


def curves(scored: Results) -> dict[tuple[str, str], list[Point]]:
    """By checkpoint and kind of policy, in the order of the thresholds."""
    found: dict[tuple[str, str], list[Point]] = {}
    for checkpoint, by_mode in scored.items():
        for mode in sorted(by_mode, key=lambda mode: modes.fields(mode)["threshold"]):
            outcomes = by_mode[mode]
            scores = {score: results.percent([getattr(o, score) for o in outcomes]) for score in TITLES}
            found.setdefault((checkpoint, modes.kind(mode)), []).append(Point(mode, results.tpf(outcomes), scores))
    return found


def draw(axes: Axes, score: str, found: dict[tuple[str, str], list[Point]]) -> None:
    for (checkpoint, kind), points in found.items():
        colour, (line, marker) = COLOURS.get(checkpoint, INK), STYLES[kind]
        tpf = [point.tpf for point in points]
        share, error = zip(*(point.scores[score] for point in points))
        axes.errorbar(tpf, share, error, fmt="none", ecolor=colour, elinewidth=1, alpha=0.3)
        axes.plot(tpf, share, line, marker=marker, color=colour, linewidth=1.6, markersize=4, markeredgewidth=0)
        for point in points:
            if point.mode == kind:
                at = point.tpf, point.scores[score][0]
                axes.plot(*at, marker, color=colour, zorder=3, **PRESET)
    axes.set_xlabel("tokens per forward", color=INK)
    axes.set_title(TITLES[score], loc="left", color=INK, fontsize=11)
    axes.grid(color=PALE, linewidth=0.6)
    axes.tick_params(colors=INK, length=0)
    axes.spines[:].set_visible(False)


def legends(figure: Figure, found: dict[tuple[str, str], list[Point]]) -> None:
    """Colours are checkpoints, marks kinds of policy."""
    checkpoints = dict.fromkeys(checkpoint for checkpoint, _ in found)
    lines = [Line2D([], [], color=COLOURS.get(name, INK), linewidth=4, label=name) for name in checkpoints]
    figure.legend(handles=lines, loc="outside lower left", ncols=3, frameon=False, labelcolor=INK)
    kinds = {kind for _, kind in found}
    marks = [
        Line2D([], [], color=INK, linestyle=line, marker=marker, markersize=5, label=NAMES[kind])
        for kind, (line, marker) in STYLES.items()
        if kind in kinds
    ]
    marks.append(Line2D([], [], color=INK, linestyle="", marker="o", label="a preset", **PRESET))
    figure.legend(handles=marks, loc="outside lower right", ncols=3, frameon=False, labelcolor=INK)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("results", type=Path, help="what score.py wrote")
    options.add_argument("picture", type=Path, help="the .png to write")
    choice = options.parse_args()
    found = curves(results.read(choice.results))

    plt.rcParams["font.size"] = 10
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, 5.4), facecolor="white", layout="constrained")
    for axes, score in zip(panels, TITLES):
        draw(axes, score, found)
    legends(figure, found)
    figure.savefig(choice.picture, dpi=150)


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        sys.exit(str(problem))
