"""Sizes, shares and names in the words in which people read them, wherever they are printed."""

from __future__ import annotations

from qdsl.spec.units import UNITS

NAME_WIDEST = 44
_COUNT = 1e5


def count(number: int, what: str, many: str = "") -> str:
    """`1 run`, `200 runs`. `many` is the plural of a noun that takes no s."""
    return f"{number} {what if number == 1 else many or f'{what}s'}"


def percent(part: int, whole: int) -> str:
    """A share that never rounds up to 100 %."""
    shown = int(1000 * part / whole) / 10
    return "100 %" if part == whole else f"{shown:g} %"


def mebibytes(size: int) -> str:
    """A size in the unit that suits it: `3.42 MiB`."""
    if size < 1 << 20:
        return f"{size / 1024:.1f} KiB"
    return f"{size / (1 << 20):.2f} MiB"


def in_unit(value: float, unit: str | None) -> str:
    """A value in base units, in the unit that its bound is written in; counts without a fraction."""
    if unit is None:
        counted = abs(value) >= _COUNT or (abs(value) > 1 and value == int(value))
        return f"{value:,.0f}" if counted else f"{value:.4f}"
    if UNITS[unit].measures == "bytes":
        return mebibytes(int(value))
    return f"{value / UNITS[unit].factor:.2f} {unit}"


def times_smaller(before: int, after: int) -> str:
    """How two sizes in bytes compare: `3.5x smaller`."""
    if after <= 0 or before <= 0:
        return "of nothing"
    return f"{before / after:.1f}x smaller" if after <= before else f"{after / before:.1f}x larger"


def plain(text: str) -> str:
    """`text` with every character that is not printable as `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shortened(name: str, widest: int = NAME_WIDEST) -> str:
    """A name that fits a column: its start and its end, with an ellipsis between them."""
    if len(name) <= widest:
        return name
    head = (widest - 1) // 2
    return f"{name[:head]}…{name[len(name) - (widest - 1 - head) :]}"
