"""Numbers and lists of words as text."""

from __future__ import annotations

from numbers import Integral, Real

from aedetect.plotting.style import is_missing, short

FEWEST_DIGITS, MOST_DIGITS = 4, 17
LARGEST = 1e6  # smaller whole numbers are written in full
MOST_TIMES = 1000  # larger factors are no longer told apart


def number(value: object, digits: int = FEWEST_DIGITS) -> str:
    """Return a number with some digits, or in full if it is whole; anything else as text.

    Real numbers below a million have at least the digits before their point.
    """
    if is_missing(value):
        return "missing"
    if isinstance(value, bool) or not isinstance(value, Real):
        return short(value)
    size = abs(float(value))
    if isinstance(value, Integral) or (size.is_integer() and size < LARGEST):
        return f"{float(value):,.0f}"
    if size < LARGEST:  # no exponent
        digits = max(digits, len(f"{size:.0f}"))
    return f"{float(value):.{digits}g}"


def apart(value: object, other: object) -> tuple[str, str]:
    """Return two different values with as many digits as it takes to tell them apart."""
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        texts = number(value, digits), number(other, digits)
        if texts[0] != texts[1]:
            break
    return texts


def percent(share: float) -> str:
    """Return a share as per cent: 0.5%, 12%."""
    return f"{100 * share:.2g}%" if share < 0.995 else f"{100 * share:.3g}%"


def times(factor: float) -> str:
    """Return how many times as large: 1.4 times, 38 times, over 1,000 times."""
    if factor > MOST_TIMES:
        return f"over {MOST_TIMES:,} times"
    return f"{factor:.0f} times" if factor >= 9.5 else f"{factor:.1f} times"


def join_words(words: list[str]) -> str:
    """Return a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
