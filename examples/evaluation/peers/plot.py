"""Horizontal bars with the range of the rounds, as SVG: one panel for each thing that was timed."""

from __future__ import annotations

from statistics import median

Bars = list[tuple[str, str, list[float]]]  # name, group, milliseconds of each round

OURS, THEIRS, INK = "#2c5f9e", "#b8c4d0", "#24292f"
TITLES = {"step_ms": "denoising step, ms", "prefill_ms": "prefill, ms"}
PANEL, LEFT, LONGEST, ROW = 500, 130, 270, 24


def svg(title: str, panels: dict[str, Bars]) -> str:
    """The first bar of a group is ours."""
    drawn = [f"<text x='12' y='20' fill='{INK}'>{title}</text>"]
    height = 0.0
    for index, (what, bars) in enumerate(panels.items()):
        x, y = PANEL * index, 48.0
        drawn.append(f"<text x='{x + LEFT}' y='{y}' fill='{INK}' font-weight='bold'>{TITLES[what]}</text>")
        longest = max(max(times) for _, _, times in bars)
        before = None
        for name, group, times in bars:
            y += ROW if group == before else ROW * 1.6 if before else ROW / 2
            drawn += bar(x, y, name, times, LONGEST / longest, OURS if group != before else THEIRS)
            before = group
        height = max(height, y + 2 * ROW)
    size = f"width='{PANEL * len(panels)}' height='{height:.0f}'"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-family='sans-serif' font-size='12'>\n"
        "<rect width='100%' height='100%' fill='white'/>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def bar(x: float, y: float, name: str, times: list[float], scale: float, colour: str) -> list[str]:
    left, middle = x + LEFT, y + ROW / 2 - 3
    low, high = (left + scale * time for time in (min(times), max(times)))
    return [
        f"<text x='{left - 8}' y='{middle + 4}' text-anchor='end' fill='{INK}'>{name}</text>",
        f"<rect x='{left}' y='{y}' width='{scale * median(times):.1f}' height='{ROW - 6}' fill='{colour}'/>",
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='{INK}'/>",
        f"<text x='{high + 6:.1f}' y='{middle + 4}' fill='{INK}'>{median(times):.0f}</text>",
    ]
