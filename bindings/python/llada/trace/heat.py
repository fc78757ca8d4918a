"""Heat maps of a trace, by matplotlib: how sure of which position at which forward, and which experts had how much to
do."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jsonl import TraceError
from .recording import Recording

_EDIT, _HOST = "#d9480f", "#ffffff"


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise ImportError(f"heat maps need matplotlib: pip install matplotlib ({problem})") from problem
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)  # no window, and none of the caller's settings are touched
    return figure, figure.subplots()


def confidence(trace: Recording, path: str | os.PathLike[str]) -> None:
    """Forwards down, positions across. Marks: what was written then, edited, and written by the host."""
    if not trace.steps:
        raise TraceError("the trace has no forward; expected one to draw")
    first = min(step.active.start for step in trace.steps)
    first, last = max(first, 0), max(step.active.stop for step in trace.steps)
    values = trace.confidences[:, first:last]
    figure, axes = _canvas(min(24, 3 + 0.11 * (last - first)), min(24, 1.9 + 0.2 * len(values)))
    picture = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=1,
        extent=(first - 0.5, last - 0.5, len(values) + 0.5, 0.5),
    )
    axes.set_facecolor("#eaeef2")
    styles = {
        "written": {"marker": "o", "facecolors": "white", "edgecolors": "#1f2328", "s": 11, "linewidths": 0.5},
        "edited": {"marker": "D", "facecolors": _EDIT, "edgecolors": "white", "s": 28, "linewidths": 0.8},
        "inserted": {"marker": "P", "facecolors": "#0a7d8c", "edgecolors": "white", "s": 34, "linewidths": 0.6},
        "deleted": {"marker": "X", "facecolors": "#c62828", "edgecolors": "white", "s": 34, "linewidths": 0.6},
        "by the host": {"marker": "s", "facecolors": _HOST, "edgecolors": "#8f3d76", "s": 28, "linewidths": 1.6},
    }
    names = {"replace": "edited", "insert": "inserted", "delete": "deleted"}
    marks: dict[str, list[tuple[int, int]]] = {name: [] for name in styles}
    for step in trace.steps:
        for event in step.events or ():
            if event.kind != "remask" and first <= event.position < last:
                name = names.get(event.kind) or ("by the host" if event.reason == "host" else "written")
                if event.kind == "replace" and event.reason == "host":
                    name = "by the host"
                marks[name].append((event.position, step.number))
    for name, places in marks.items():
        if places:
            axes.scatter(*zip(*places), label=name, **styles[name])
    axes.set_xlabel("position on the canvas, tokens")
    axes.set_ylabel("forward")
    axes.yaxis.get_major_locator().set_params(integer=True)
    prompt = len(trace.prompt)
    if first < prompt < last:
        axes.axvline(prompt - 0.5, color="white", linewidth=1.5, linestyle="--", label="end of the prompt")
    axes.set_title(
        f"{trace.start.model['name']}: confidence of the prediction; grey: not denoised", loc="left", fontsize=10
    )
    figure.colorbar(picture, label="probability", pad=0.01)
    if any(marks.values()):
        axes.legend(loc="lower left", fontsize=8, facecolor="#afb8c1", framealpha=0.9)
    figure.savefig(path, dpi=110)


def experts(usage: NDArray[np.uint64], path: str | os.PathLike[str], title: str = "") -> None:
    """Layers down, experts across; counts as shares of their layer. Layers without experts are left out."""
    usage = np.asarray(usage)
    layers = np.flatnonzero(usage.sum(axis=1))
    if not layers.size:
        raise TraceError("no expert was used; expected counts of a decoder that watches its routers")
    shares = 100 * usage[layers] / usage[layers].sum(axis=1, keepdims=True)
    count = usage.shape[1]
    figure, axes = _canvas(min(24, 2.6 + 0.55 * min(count, 32) + 0.02 * count), min(24, 1.5 + 0.42 * len(layers)))
    picture = axes.imshow(shares, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0)
    if count <= 16:
        middle = shares.max() / 2
        for (row, expert), share in np.ndenumerate(shares):
            ink = "white" if share < middle else "#1f2328"
            axes.text(expert, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xlabel("expert")
    axes.set_ylabel("layer")
    axes.set_yticks(range(len(layers)), [str(layer) for layer in layers])
    axes.xaxis.get_major_locator().set_params(integer=True)
    even = 100 / count
    axes.set_title(f"{title + ': ' if title else ''}expert usage; even would be {even:.3g} %", loc="left", fontsize=10)
    figure.colorbar(picture, label="% of the layer's choices", pad=0.01)
    figure.savefig(path, dpi=110)
