"""Numbers and lists of words as text."""

from __future__ import annotations

from numbers import Integral, Real

from aedetect.plotting.style import is_missing, short

MOST_DIGITS = 1e6  # smaller whole numbers are written in full


def number(value: object) -> str:
    """Return a number with four digits, or in full if it is whole; anything else as text."""
    if is_missing(value):
        return "missing"
    if isinstance(value, bool) or not isinstance(value, Real):
        return short(value)
    size = abs(float(value))
    if isinstance(value, Integral) or (size.is_integer() and size < MOST_DIGITS):
        return f"{float(value):,.0f}"
    return f"{float(value):.4g}"


def percent(share: float) -> str:
    """Return a share as per cent: 0.5%, 12%."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.3g}%"


def join_words(words: list[str]) -> str:
    """Return a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
