"""What `allocate` chose from for one target and what it tried, with what came of it: `allocation-<target>.json` of a
build, which an interrupted compilation goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Annotated, Any

from qdsl.spec import widths
from qdsl.spec.bounds import SPARE, Count, Figure, Many, Number, Text

ALLOCATION_VERSION = 4
_Words = Annotated[str, Text(1 << 16)]
_Cost = Annotated[float, Number(0.0)]


def file_name(target: str) -> str:
    """Of the file for one target."""
    return f"allocation-{target}.json"


@dataclass(frozen=True, slots=True)
class Held:
    """A bound by its words: the `value` of its metric, that of the float model, the share of the bound that is left
    (negative where it is broken; of a bound of 0, the share of the float model's figure, or the drop itself), whether
    it holds, and the ends of the 95 % interval of a drop, or of an agreement itself; None for what is not known.
    `spread` is half of what the margin is wide at 95 %: 0 where it is no matter of which samples were drawn; `least` is
    the margin at the worse end of the interval, None where there is none."""

    text: _Words
    value: Figure
    reference: Figure | None
    margin: Figure | None
    holds: bool | None
    low: Figure | None = None
    high: Figure | None = None
    spread: Figure = 0.0
    least: Annotated[Figure | None, SPARE] = None

    @property
    def by_chance(self) -> bool:
        """Whether other samples might break what holds on these."""
        return self.holds is True and self.least is not None and self.least < 0.0


@dataclass(frozen=True, slots=True)
class Raced:
    """Timed in turns with the float model, in milliseconds: `ratio` is how often the build runs while the float model
    runs once, with its 95 % interval."""

    milliseconds: Figure
    float_milliseconds: Figure
    ratio: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of types, by type the nodes that have it (others are as `quantize` says), built and measured. `why`
    says why it could not be, "" where it could; then `integer_share` of its `macs` multiply integers, and its file has
    so many `bytes`."""

    assigned: Annotated[Mapping[str, tuple[_Words, ...]], Many(most=100)]
    why: _Words = ""
    held: tuple[Held, ...] = ()
    integer_share: Figure = 0.0
    macs: Count = 0
    bytes: Count = 0
    raced: Raced | None = None

    @property
    def holds(self) -> bool:
        """Whether every bound is known to hold."""
        return not self.why and all(each.holds is True for each in self.held)

    @property
    def margin(self) -> float:
        """The least share of a bound that is left: where one is broken below 0."""
        if self.why:
            return float("-inf")
        known = [each.margin for each in self.held if each.margin is not None]
        return min(known, default=0.0)

    @property
    def spread(self) -> float:
        """By how much the margin may be chance: that of the bound with the least."""
        known = [(each.margin, each.spread) for each in self.held if each.margin is not None]
        return min(known, default=(0.0, 0.0))[1]


@dataclass(frozen=True, slots=True)
class Layer:
    """Nodes that were decided together, called by the first, and what they cost in integers and in float, in the unit
    of the whole."""

    node: _Words
    nodes: Count
    macs: Count
    in_integers: _Cost
    in_float: _Cost


@dataclass(frozen=True, slots=True)
class Rounding:
    """What a rounding alone does to the outputs, as noise over signal: gone where all of `layers` (by their place) are
    in float."""

    noise: _Cost
    layers: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Estimates:
    """What led the trials: costs in `unit`, of layers in graph order and of one element that is converted."""

    unit: _Words
    layers: tuple[Layer, ...]
    roundings: tuple[Rounding, ...]
    quantize: _Cost
    dequantize: _Cost

    def problem(self) -> str:
        """Why these are no estimates, in words; "" for nothing."""
        beyond = any(at >= len(self.layers) for each in self.roundings for at in each.layers)
        return "roundings: one speaks of a layer that is not among them" if beyond else ""


@dataclass(frozen=True, slots=True)
class Allocation:
    """`key` is over everything that trials depend on, "" where the lock alone told of the end. `instead` is the type of
    what is not as `quantize` says; `estimates` None before they are made; `taken` is the place of the trial that was,
    None before the end, `last` that one timed for longer; `exact` the choice that was made without measuring. At the
    end, `evidence` is what the lock says of it, and `lines` those of a recipe that would give the same types."""

    version: int
    target: _Words
    what: _Words
    goal: _Words
    key: _Words
    instead: _Words = ""
    estimates: Estimates | None = None
    trials: tuple[Trial, ...] = ()
    taken: int | None = None
    last: Raced | None = None
    exact: widths.Allocation | None = None
    evidence: _Words = ""
    lines: Annotated[tuple[_Words, ...], Many(most=1 << 20)] = ()


def text(found: Allocation) -> str:
    """As it stands in the file: infinities as words, since JSON has none."""
    return json.dumps(_plain(asdict(found)), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if not isinstance(value, float) or isfinite(value) else str(value)
