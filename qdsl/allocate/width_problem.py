"""`allocate activations` as a problem of exact choice: a unit per scale, with what each width costs and loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdsl.allocate.problem import Asked
from qdsl.allocate.tensors import Widths, picked, widths
from qdsl.allocate.weight_choices import pins
from qdsl.allocate.width_costs import Costs, costs
from qdsl.allocate.width_goals import WidthGoal, bounds, cannot, width_goal
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lang.recipe import Allocate
from qdsl.plan import Decisions
from qdsl.search import LOSS, Assignment, Option, Problem, Unit, Unreachable, minimum
from qdsl.select.selection import Selection
from qdsl.work.prepared import Prepared


@dataclass(frozen=True)
class Choosing:
    """What is chosen among on one target, for what, and what it costs, in the order of the goal's measures."""

    spec: Allocate
    decided: Decisions
    goal: WidthGoal
    widths: Widths
    costs: tuple[Costs, ...]

    @property
    def bounds(self) -> dict[str, int]:
        """By measure the most that the sum over units may be."""
        return bounds(self.goal, {each.measure: each for each in self.costs})

    def least(self, asked: Asked) -> Assignment:
        """The assignment that loses least within the bounds. Raises QdslError allocate-*."""
        answer = minimum(asked.problem, LOSS, self.bounds)
        if not isinstance(answer, Assignment):
            raise cannot(answer, self.spec, self.costs)
        return answer

    def require_possible(self) -> None:
        """Raise QdslError allocate-* where the widths that cost least exceed a bound."""
        none = dict.fromkeys((width.words for width in self.widths.choices), 0.0)
        problem = self.asked(dict.fromkeys(self.widths.units, none)).problem
        for at, measure in enumerate(problem.measures):
            answer = minimum(problem, measure, {})
            if isinstance(answer, Assignment) and answer.costs[at] <= self.bounds.get(measure, answer.costs[at]):
                continue
            refusal = Unreachable((measure,), answer) if isinstance(answer, Assignment) else answer
            raise cannot(refusal, self.spec, self.costs)

    def asked(self, losses: Mapping[str, Mapping[str, float]]) -> Asked:
        """The problem, by losses of units. Raises QdslError allocate-pin, allocate-nothing, and for selectors that pick
        nothing."""
        context = self.decided.context
        selection = Selection(context.view, Diagnostics(), context.selection.selects)
        pinned = dict(self._pinned(selection))
        units = tuple(Unit(unit, tuple(self._options(unit, losses, pinned))) for unit in self.widths.units)
        ties = (tuple(picked(self.widths, context, selection, picks)) for picks in self.spec.groups)
        problem = Problem(self.goal.measures, units, tuple(tie for tie in ties if tie), tuple(pinned.items()))
        selection.diags.raise_errors()
        return Asked(problem, self.widths.decides)

    def _options(
        self, unit: str, losses: Mapping[str, Mapping[str, float]], pinned: Mapping[str, str]
    ) -> Iterator[Option]:
        """The types of pins are for those alone that are pinned to them."""
        for width in self.widths.choices:
            if width.request in self.spec.choices or pinned.get(unit) == width.words:
                prices = tuple(each.units[unit][width.words] for each in self.costs)
                yield Option(width.words, losses[unit][width.words], prices)

    def _pinned(self, selection: Selection) -> Iterator[tuple[str, str]]:
        """What pins say, later ones winning: (unit, the words of its choice)."""
        for pin in self.spec.pins:
            units = list(picked(self.widths, self.decided.context, selection, pin.picks))
            if not units and not selection.diags.has_errors:
                headline = "this pin reaches no activation that `allocate` decides"
                cures = ("take it out: rules of the recipe decide what it picks, or nothing of it is quantized",)
                raise QdslError([Diagnostic("allocate-pin", headline, pin.span, help=cures)])
            words = next(width.words for width in self.widths.choices if pins(pin, width.request))
            yield from ((unit, words) for unit in units)


def choosing(prepared: Prepared, decided: Decisions) -> Choosing:
    """What one target chooses among; `decided` is its plan without any choice. Raises QdslError allocate-*, and what
    planning with a choice raises."""
    spec = prepared.recipe.allocate
    assert spec is not None, "the caller has seen to it"
    goal = width_goal(spec)
    found = widths(prepared, decided)
    return Choosing(spec, decided, goal, found, tuple(costs(spec, decided, found, each) for each in goal.measures))
