"""Losses as integers, so that sums of them are exact and independent of their order.

A finite float64 is an integer times a power of two, so that all losses of a problem are integers over one power of
two. Sums of floats would be rounded: two assignments that lose the same would differ by the order of their layers,
and a sum over 54 layers would hide losses of 1e-16 of it. Sums of these integers often take more than 63 bits;
`Limbs` are such numbers in several int64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import gcd

import numpy as np

from qdsl.search.problem import NoOptions, NotFinite, Option, Problem, Refusal, Unit

BITS = 61  # of a limb: two of them and a carry fit in an int64
MOST_COST = 1 << 62
MOST_LOSS = 1e300  # a sum of them stays a float64

Limbs = np.ndarray  # int64 [limbs, n], the highest first and signed, those below it in 0 .. 2**BITS


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a row: the name that each unit of the row takes, exact sums of costs and of loss."""

    name: str
    costs: tuple[int, ...]
    loss: int


@dataclass(frozen=True, slots=True)
class Row:
    """Units that are decided together."""

    units: tuple[str, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """A problem in integers: `rows` with pins and ties worked in; a loss is its integer times `unit`."""

    rows: tuple[Row, ...]
    unit: Fraction

    def loss(self, whole: int) -> float:
        """The correctly rounded loss of an exact sum."""
        return (whole * self.unit.numerator) / self.unit.denominator  # Python rounds it once, correctly


def whole(problem: Problem) -> Whole | Refusal:
    """The problem in integers. Raises ValueError for names that are twice or unknown, and for costs whose sum could
    pass 2^62; answers a refusal for losses that are not finite and units without options."""
    _check(problem)
    units = {unit.name: unit for unit in problem.units}
    for unit in problem.units:
        for option in unit.options:
            if not abs(option.loss) <= MOST_LOSS:
                return NotFinite(unit.name, option.name, option.loss)
    scale = max((option.loss.as_integer_ratio()[1] for unit in problem.units for option in unit.options), default=1)
    rows = []
    for names in together(problem):
        row = _row([units[name] for name in names], {to for name, to in problem.pins if name in names}, scale)
        if not row.choices:
            return NoOptions(names)
        rows.append(row)
    common = reduce(gcd, (choice.loss for row in rows for choice in row.choices), 0) or 1
    return Whole(tuple(_divided(row, common) for row in rows), Fraction(common, scale))


def _check(problem: Problem) -> None:
    names = [unit.name for unit in problem.units]
    spoken = [name for tie in problem.ties for name in tie] + [name for name, _ in problem.pins]
    if len(set(names)) < len(names) or not set(spoken) <= set(names):
        raise ValueError("a unit stands twice, or a tie or pin names one that is not there")
    options = [option for unit in problem.units for option in unit.options]
    if any(len(option.costs) != len(problem.measures) for option in options):
        raise ValueError("an option has another number of costs than the problem has measures")
    largest = (
        max((abs(cost) for option in unit.options for cost in option.costs), default=0) for unit in problem.units
    )
    if sum(largest) >= MOST_COST:
        raise ValueError("the costs could add up to more than 2^62")


def together(problem: Problem) -> list[tuple[str, ...]]:
    """The units, those that ties connect as one, in the order of the problem."""
    first = {unit.name: unit.name for unit in problem.units}
    for tie in problem.ties:
        meant = {first[name] for name in tie}
        for name, group in first.items():
            if group in meant:
                first[name] = first[tie[0]]
    groups: dict[str, list[str]] = {}
    for name, group in first.items():
        groups.setdefault(group, []).append(name)
    return [tuple(group) for group in groups.values()]


def _row(units: Sequence[Unit], pinned: set[str], scale: int) -> Row:
    """The options that every unit has by name, and every pin allows, in the order of the first unit."""
    found = []
    for name in dict.fromkeys(option.name for option in units[0].options):
        if any(name not in {option.name for option in unit.options} for unit in units) or pinned - {name}:
            continue
        options = [unit.option(name) for unit in units]
        costs = tuple(map(sum, zip(*(option.costs for option in options), strict=True)))
        found.append(Choice(name, costs, sum(_scaled(option, scale) for option in options)))
    return Row(tuple(unit.name for unit in units), tuple(found))


def _scaled(option: Option, scale: int) -> int:
    numerator, denominator = option.loss.as_integer_ratio()
    return numerator * (scale // denominator)


def _divided(row: Row, common: int) -> Row:
    return Row(row.units, tuple(Choice(c.name, c.costs, c.loss // common) for c in row.choices))


def most_loss(rows: Sequence[Row]) -> int:
    """No sum of one choice per row is larger, whatever its sign; 1 where all of them are 0."""
    return sum(max(abs(choice.loss) for choice in row.choices) for row in rows) or 1


def limbs_needed(most: int) -> int:
    """How many limbs hold every integer up to that one, of either sign."""
    return most.bit_length() // BITS + 1


def to_limbs(value: int, count: int) -> Limbs:
    """One integer as a column [count, 1]."""
    parts = []
    for _ in range(count - 1):
        parts.append(value & ((1 << BITS) - 1))
        value >>= BITS
    return np.array([value, *reversed(parts)], np.int64)[:, None]


def to_integers(values: Limbs) -> list[int]:
    """The integers of columns of limbs."""
    found: list[int] = values[0].tolist()
    for limbs in values[1:]:
        found = [(high << BITS) + low for high, low in zip(found, limbs.tolist(), strict=True)]
    return found


def relative(values: Limbs, most: int) -> np.ndarray:
    """Each value [n] as a float, relative to the integer that `limbs_needed` was asked about: two limbs are enough to
    differ from the exact quotient by its rounding alone."""
    below = BITS * max(0, len(values) - 2)
    found = values[0].astype(np.float64)
    if len(values) > 1:
        found = found * 2.0**BITS + values[1]
    return np.asarray(found / float(most >> below))


def added(values: Limbs, one: Limbs) -> Limbs:
    """Each of the values [limbs, n] plus the one [limbs, 1]."""
    total: np.ndarray = values + one
    for at in range(len(total) - 1, 0, -1):
        total[at - 1] += total[at] >> BITS
        total[at] &= (1 << BITS) - 1
    return total


def falling(values: Limbs) -> np.ndarray:
    """Where each value is below all before it: indices, ascending."""
    top = values[0]
    kept: np.ndarray = np.flatnonzero(top == np.minimum.accumulate(top))
    order = top[kept]
    if len(values) > 1:
        if not (np.diff(order) == 0).any():
            return kept
        order = _ranks(values[:, kept])
    found: np.ndarray = kept[_below(order)]
    return found


def _below(values: np.ndarray) -> np.ndarray:
    """Where a value [n] is below all before it."""
    lowest = np.minimum.accumulate(values)
    found: np.ndarray = np.flatnonzero(np.append(True, values[1:] < lowest[:-1]))
    return found


def _ranks(values: Limbs) -> np.ndarray:
    """The place of each value among the distinct ones."""
    order = np.lexsort(values[::-1])
    ordered = values[:, order]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.append(0, np.cumsum((ordered[:, 1:] != ordered[:, :-1]).any(axis=0)))
    return ranks
