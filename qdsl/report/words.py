"""Figures in words: units, signs and what is not there."""

from __future__ import annotations

import math

from qdsl.harness.results import Drop, Key
from qdsl.spec import UNITS
from qdsl.spec.words import count as count
from qdsl.spec.words import in_unit as in_base
from qdsl.spec.words import mebibytes

NOT_MEASURED = "not measured"
UNDECIDED = "undecided"
_SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def three(value: float) -> str:
    """About three digits, never in powers of ten."""
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def seconds(value: float | None) -> str:
    if value is None:
        return NOT_MEASURED
    for unit, factor in _SECONDS:
        if value >= factor:
            return f"{three(value / factor)} {unit}"
    return f"{three(value / 1e-9)} ns"


def size(value: float | None) -> str:
    return NOT_MEASURED if value is None else mebibytes(int(value))


def share(value: float | None) -> str:
    """A fraction in percent that never rounds up to 100 %, nor down to none."""
    if value is None:
        return NOT_MEASURED
    if 0 < value < 0.001:
        return "under 0.1 %"
    return "100 %" if value >= 1 else f"{math.floor(1000 * value) / 10:g} %"


def decibels(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NOT_MEASURED
    if math.isinf(value):
        return "equal" if value > 0 else "nothing left"
    return f"{0.0 if abs(value) < 0.05 else value:.1f} dB"


def score(key: Key, value: float | None) -> str:
    """A metric's value: a fraction, or what its unit is."""
    if value is None or math.isnan(value):
        return NOT_MEASURED
    if key.metric == "sqnr":
        return decibels(value)
    return f"{value:.4g}" if key.metric in ("mse", "max_error") else f"{value:.4f}"


def points(value: float) -> str:
    """A difference of two fractions in percentage points."""
    return "unknown" if math.isnan(value) else f"{100 * value:.2f}"


def drop(found: Drop | None) -> str:
    """`0.45 pp [-0.06, 0.98]`"""
    if found is None:
        return NOT_MEASURED
    return f"{points(found.value)} pp [{points(found.low)}, {points(found.high)}]"


def faster(before: float, after: float) -> str:
    """How two durations compare: `2.59x as fast`."""
    return f"{before / after:.2f}x as fast" if after > 0 else ""


def in_unit(value: float | None, unit: str | None) -> str:
    """A value in base units, in the unit that its bound is written in."""
    if value is None or math.isnan(value):
        return NOT_MEASURED
    if unit is None or unit not in UNITS:
        return in_base(value, None)
    if UNITS[unit].measures == "bytes":
        return mebibytes(int(value)) if math.isfinite(value) else str(value)
    return f"{value / UNITS[unit].factor:.2f} {unit}"


def large(number: float) -> str:
    """`4.04 G`, `40.8 M`, `903,168`."""
    for sign, factor in (("G", 1e9), ("M", 1e6)):
        if number >= factor:
            return f"{three(number / factor)} {sign}"
    return f"{number:,.0f}"
