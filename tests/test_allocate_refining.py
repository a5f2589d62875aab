"""Estimates order assignments, measurements choose: within how many measurements, and what is found."""

from __future__ import annotations

from itertools import product

import pytest

from qdsl.allocate.refining import Measured, Verdict, smaller, swapped
from qdsl.search import LOSS, Assignment, Frontier, Option, Problem, Unit, frontier, minimum

# Eight layers in two widths; the estimate takes layer 3 for harmless, and it is what costs most.
TRUE = {f"u{at}": 0.1 + 0.02 * at + (3.0 if at == 3 else 0.0) for at in range(8)}
PROBLEM = Problem(
    ("size",),
    tuple(
        Unit(f"u{at}", (Option("wide", 0.0, (20 + at,)), Option("narrow", 0.1 + 0.02 * at, (10,)))) for at in range(8)
    ),
)


def judge(most: float) -> object:
    def held(found: Assignment) -> Verdict:
        lost = sum(TRUE[unit] for unit, choice in found.choices if choice == "narrow")
        return Verdict(lost <= most, (most - lost) / most, found.costs[0])

    return held


def measured(most: float, evaluations: int) -> Measured:
    return Measured(PROBLEM, judge(most), evaluations)  # type: ignore[arg-type]


def every() -> list[Assignment]:
    names = [unit.name for unit in PROBLEM.units]
    return [PROBLEM.assignment(dict(zip(names, words, strict=True))) for words in product(("wide", "narrow"), repeat=8)]


def test_what_the_estimate_thinks_harmless_is_mended_by_a_swap() -> None:
    bound = 150
    start = minimum(PROBLEM, LOSS, {"size": bound})
    assert isinstance(start, Assignment) and dict(start.choices)["u3"] == "narrow"
    search = measured(1.0, 12)
    found = search.mended(start, lambda each: each.costs[0] <= bound)
    assert found is not None and dict(found.choices)["u3"] == "wide"
    assert found.costs[0] <= bound and search.look(found).holds
    assert len(search.known) <= 12


def test_the_smallest_file_that_holds_is_near_the_best_there_is() -> None:
    points = frontier(PROBLEM, "size")
    assert isinstance(points, Frontier)
    search = measured(0.75, 24)
    found = search.smallest(points)
    assert found is not None and search.look(found).holds
    best = min(each.costs[0] for each in every() if judge(0.75)(each).holds)  # type: ignore[operator]
    assert best <= found.costs[0] <= best + 12
    assert len(search.known) <= 24


@pytest.mark.parametrize("evaluations", [1, 2, 5, 9])
def test_no_more_is_measured_than_may_be(evaluations: int) -> None:
    points = frontier(PROBLEM, "size")
    assert isinstance(points, Frontier)
    one, two = measured(0.01, evaluations), measured(0.01, evaluations)
    assert two.mended(points.assignment(3), lambda each: True) is None or evaluations > 5
    assert one.smallest(points) is None or one.look(one.nearest()[0]).holds
    assert len(one.known) <= evaluations and len(two.known) <= evaluations


def test_where_nothing_holds_the_nearest_is_known() -> None:
    search = measured(-1.0, 6)
    assert search.mended(every()[0], lambda each: each.costs[0] <= 150) is None
    nearest, verdict = search.nearest()
    assert not verdict.holds
    assert verdict.margin == max(each.margin for _, each in search.known.values())
    assert dict(nearest.choices).keys() == TRUE.keys()


def test_steps_keep_ties_and_pins() -> None:
    tied = Problem(PROBLEM.measures, PROBLEM.units, (("u0", "u1"),), (("u2", "narrow"),))
    start = minimum(tied, "size", {})
    assert isinstance(start, Assignment)
    steps = [*smaller(tied, start), *swapped(tied, start)]
    assert steps and all(dict(each.choices)["u2"] == "narrow" for each in steps)
    assert all(dict(each.choices)["u0"] == dict(each.choices)["u1"] for each in steps)


def test_swaps_come_by_loss_and_none_is_missing() -> None:
    start = PROBLEM.assignment({f"u{at}": "narrow" if at % 2 else "wide" for at in range(8)})
    found = list(swapped(PROBLEM, start))
    losses = [each.loss for each in found]
    assert losses == pytest.approx(sorted(losses), abs=1e-12)
    dearer, cheaper = range(1, 8, 2), range(0, 8, 2)
    expected = set()
    for one in dearer:
        for two in (None, *cheaper):
            chosen = {**dict(start.choices), f"u{one}": "wide", **({} if two is None else {f"u{two}": "narrow"})}
            expected.add(PROBLEM.assignment(chosen))
    assert set(found) == expected and len(found) == len(expected) == 20


def test_of_many_layers_few_swaps_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    units = tuple(Unit(f"u{at}", (Option("wide", 0.0, (20,)), Option("narrow", 1.0 + at, (10,)))) for at in range(300))
    many = Problem(("size",), units)
    start = many.assignment({f"u{at}": "narrow" if at % 2 else "wide" for at in range(300)})
    made: list[object] = []
    real = Problem.assignment
    monkeypatch.setattr(Problem, "assignment", lambda self, chosen: (made.append(0), real(self, chosen))[1])
    steps = swapped(many, start)
    for _ in range(5):
        next(steps)
    assert len(made) <= 300 + 5
