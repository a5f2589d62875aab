"""One option per unit: what is asked (units with options that cost and lose something) and what can be answered.

In the literature this is the multiple-choice knapsack problem (Kellerer, Pferschy, Pisinger, Knapsack Problems,
chapter 11): a unit is a class, an option an item of it. Costs are integers (bytes, MACs x bits, nanoseconds), so that
a bound is a bound; losses are any finite floats, and their sums are compared exactly (`qdsl.search.whole`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

LOSS = "loss"  # how a goal or a bound names it, beside the names of the costs


@dataclass(frozen=True, slots=True)
class Option:
    """What a unit may become: its name (a type, "6 bit"), what it loses, and its costs in the order of
    `Problem.measures`."""

    name: str
    loss: float
    costs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that takes one of its options; the order of options decides between equals."""

    name: str
    options: tuple[Option, ...]

    def option(self, name: str) -> Option:
        """The option of that name. Raises KeyError where there is none."""
        found = next((option for option in self.options if option.name == name), None)
        if found is None:
            raise KeyError(name)
        return found


@dataclass(frozen=True, slots=True)
class Problem:
    """Units by name, each once. `ties` are units that take options of one name together; `pins` are (unit, option)."""

    measures: tuple[str, ...]
    units: tuple[Unit, ...]
    ties: tuple[tuple[str, ...], ...] = ()
    pins: tuple[tuple[str, str], ...] = ()

    def assignment(self, chosen: Mapping[str, str]) -> Assignment:
        """What a choice for every unit loses and costs. The loss is the correctly rounded sum, the costs are exact."""
        options = [unit.option(chosen[unit.name]) for unit in self.units]
        return Assignment(
            tuple((unit.name, option.name) for unit, option in zip(self.units, options, strict=True)),
            fsum(option.loss for option in options),
            tuple(sum(option.costs[at] for option in options) for at in range(len(self.measures))),
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """One option per unit, in the order of the problem's units, with the sums."""

    choices: tuple[tuple[str, str], ...]
    loss: float
    costs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NoOptions:
    """These units (one, or several that are tied) have no option that ties and pins leave all of them."""

    units: tuple[str, ...]

    def __str__(self) -> str:
        return f"nothing to choose from for {', '.join(self.units)}"


@dataclass(frozen=True, slots=True)
class NotFinite:
    """An option whose loss is no finite number."""

    unit: str
    option: str
    loss: float

    def __str__(self) -> str:
        return f"the loss of {self.unit} as {self.option} is {self.loss}"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No assignment keeps every bound: `broken` are those that `nearest` breaks (its largest excess, relative to its
    bound, is the smallest there is)."""

    broken: tuple[str, ...]
    nearest: Assignment

    def __str__(self) -> str:
        return f"no assignment keeps the bound on {', '.join(self.broken)}"


@dataclass(frozen=True, slots=True)
class Grown:
    """The frontier has more than `cap` points once `units` units are in it: it was not followed further."""

    cap: int
    units: int

    def __str__(self) -> str:
        return f"more than {self.cap:,} points on the frontier of {self.units} units"


@dataclass(frozen=True, slots=True)
class Unsolved:
    """The solver ended without an answer that holds in integers."""

    because: str

    def __str__(self) -> str:
        return self.because


Refusal = NoOptions | NotFinite | Unreachable | Grown | Unsolved
