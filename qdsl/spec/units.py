"""The closed set of units a recipe may write after a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitInfo:
    """A unit: what it measures and how many base units it is (bytes, seconds, joules, watts, hertz)."""

    name: str
    measures: str
    factor: float


def _table() -> dict[str, UnitInfo]:
    rows = [
        ("%", "ratio", 0.01),
        ("pp", "points", 0.01),
        ("bit", "width", 1),
        ("B", "bytes", 1),
        ("KB", "bytes", 10**3),
        ("kB", "bytes", 10**3),
        ("MB", "bytes", 10**6),
        ("GB", "bytes", 10**9),
        ("KiB", "bytes", 2**10),
        ("MiB", "bytes", 2**20),
        ("GiB", "bytes", 2**30),
        ("ns", "seconds", 1e-9),
        ("us", "seconds", 1e-6),
        ("ms", "seconds", 1e-3),
        ("s", "seconds", 1),
        ("min", "seconds", 60),
        ("h", "seconds", 3600),
        ("mJ", "joules", 1e-3),
        ("J", "joules", 1),
        ("W", "watts", 1),
        ("Hz", "hertz", 1),
        ("kHz", "hertz", 1e3),
        ("MHz", "hertz", 1e6),
        ("GHz", "hertz", 1e9),
        ("fps", "rate", 1),
        ("dB", "decibels", 1),
        ("px", "pixels", 1),
    ]
    return {name: UnitInfo(name, measures, factor) for name, measures, factor in rows}


UNITS: dict[str, UnitInfo] = _table()


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with an optional unit, as written: `3.6 MiB`, `1 pp`, `200`."""

    value: int | float
    unit: str | None = None

    @property
    def base(self) -> float:
        """The value in base units: bytes, seconds, fraction."""
        return self.value if self.unit is None else self.value * UNITS[self.unit].factor

    def __str__(self) -> str:
        if self.unit is None:
            return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.value:g} {self.unit}"
