"""Regular expressions of the decimal numerals within bounds, as JSON writes numbers."""

from __future__ import annotations

DIGITS = 15
"""Digits of a number's whole part and of its fraction at most: a double holds so many."""

MOST = 10**DIGITS - 1
"""What is unbounded ends here."""


def integers(low: int | None, high: int | None) -> str | None:
    """The whole numbers from `low` to `high`; None for none."""
    return _signed(low, high, _naturals)


def numbers(low: int | None, high: int | None, above: bool, below: bool) -> str | None:
    """The numbers from `low` to `high`, with fractions; of the bounds, `above` leaves out the lower one and `below` the
    upper one. None for none."""
    return _signed(low, high, _fractions, above, below)


def _signed(
    low: int | None, high: int | None, unsigned: object, above: bool = False, below: bool = False
) -> str | None:
    """From expressions of numbers that are not negative. Zero is among these, unless it is an upper bound."""
    assert callable(unsigned)
    low = -MOST if low is None else max(low, -MOST)
    high = MOST if high is None else min(high, MOST)
    parts = []
    if low > high or (low == high and (above or below)):
        return None
    if high > 0 or (high == 0 and not below):
        part = unsigned(max(low, 0), high, above and low >= 0, below)
        parts += [part] if part else []
    if low < 0:
        part = unsigned(max(-high, 0), -low, below or high >= 0, above)
        parts += [f"-(?:{part})"] if part else []
    return "|".join(parts) or None


def _naturals(low: int, high: int, above: bool, below: bool) -> str:
    low += above  # so that there is no -0
    high -= below
    parts = []
    if high == MOST and low in (0, 1):
        return ("0|" if low == 0 else "") + f"[1-9][0-9]{{0,{DIGITS - 1}}}"
    for length in range(len(str(low)), len(str(high)) + 1):
        least, most = max(low, 10 ** (length - 1) if length > 1 else 0), min(high, 10**length - 1)
        if least <= most:
            parts.append(_between(str(least), str(most)))
    return "|".join(parts)


def _fractions(low: int, high: int, above: bool, below: bool) -> str:
    parts = []
    if above and low < high:  # a fraction that is not 0 behind the lower bound
        parts.append(rf"{low}\.0{{0,{DIGITS - 1}}}[1-9][0-9]{{0,{DIGITS}}}")
    if low + above <= high - 1:
        parts.append(rf"(?:{_naturals(low + above, high - 1, False, False)})(?:\.[0-9]{{1,{DIGITS}}})?")
    if not below and (low < high or not above):
        parts.append(rf"{high}(?:\.0{{1,{DIGITS}}})?")
    return "|".join(parts)


def _between(low: str, high: str) -> str:
    """Numerals of one length."""
    rest = len(low) - 1
    if low == high:
        return low
    if not rest:
        return f"[{low}-{high}]"
    if low[0] == high[0]:
        return f"{low[0]}(?:{_between(low[1:], high[1:])})"
    first, last, parts = int(low[0]), int(high[0]), []
    if low[1:] != "0" * rest:
        parts.append(f"{first}(?:{_between(low[1:], '9' * rest)})")
        first += 1
    if high[1:] != "9" * rest:
        parts.append(f"{last}(?:{_between('0' * rest, high[1:])})")
        last -= 1
    if first <= last:
        parts.append(f"[{first}-{last}]" + (f"[0-9]{{{rest}}}"))
    return "|".join(parts)
