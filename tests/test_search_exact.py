"""One option per unit: the frontier, one bound and several bounds against brute force, and what is refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.search import (
    LOSS,
    Assignment,
    Frontier,
    Grown,
    NoOptions,
    NotFinite,
    Option,
    Problem,
    Unit,
    Unreachable,
    Unsolved,
    frontier,
    minimum,
)
from qdsl.search import several as several_bounds
from qdsl.search.several import least
from qdsl.search.whole import MOST_LOSS, added, falling, to_integers, to_limbs

# Few distinct numbers, so that equal sums are common, and some that a sum of floats would lose.
plain = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1 / 3, 1.0, -0.1, 2.0**-70, 1e-9, 3e5])
wild = st.floats(-MOST_LOSS, MOST_LOSS)
costs = st.integers(-3, 12) | st.integers(0, 10**12)


@st.composite
def problems(draw: st.DrawFn, measures: int = 1, losses: Any = plain, most: int = 4) -> Problem:
    units = []
    for at in range(draw(st.integers(1, most))):
        names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
        rows = [Option(n, draw(losses), tuple(draw(costs) for _ in range(measures))) for n in names]
        units.append(Unit(f"u{at}", tuple(rows)))
    called = [unit.name for unit in units]
    ties = draw(st.lists(st.lists(st.sampled_from(called), min_size=1, max_size=3).map(tuple), max_size=2))
    pins = [(unit, name) for unit in called for name in "ab" if draw(st.integers(0, 9)) == 0]
    return Problem(tuple(f"m{k}" for k in range(measures)), tuple(units), tuple(ties), tuple(pins))


def all_of(problem: Problem) -> Iterator[tuple[Fraction, tuple[int, ...], dict[str, str]]]:
    """Every assignment that ties and pins allow: exact loss, costs, choices."""
    for options in product(*(unit.options for unit in problem.units)):
        chosen = {unit.name: option.name for unit, option in zip(problem.units, options, strict=True)}
        tied = all(len({chosen[name] for name in tie}) == 1 for tie in problem.ties)
        if tied and all(chosen[name] == to for name, to in problem.pins):
            exact = sum((Fraction(option.loss) for option in options), Fraction(0))
            yield exact, tuple(map(sum, zip(*(option.costs for option in options), strict=True))), chosen


def brute_frontier(problem: Problem) -> list[tuple[int, Fraction]]:
    kept: list[tuple[int, Fraction]] = []
    for cost, loss in sorted((costs[0], loss) for loss, costs, _ in all_of(problem)):
        if not kept or loss < kept[-1][1]:
            kept.append((cost, loss))
    return kept


@settings(max_examples=30)
@given(problems() | problems(losses=wild, most=3))
def test_the_frontier_is_that_of_all_assignments(problem: Problem) -> None:
    found, expected = frontier(problem, "m0"), brute_frontier(problem)
    if not expected:
        assert isinstance(found, NoOptions)
        return
    assert isinstance(found, Frontier)
    assert [(int(c), float(loss)) for c, loss in zip(found.costs, found.losses, strict=True)] == [
        (cost, float(loss)) for cost, loss in expected
    ]
    for at, (cost, loss) in enumerate(expected):
        point = found.assignment(at)
        assert (point.costs, point.loss) == ((cost,), math.fsum([float(loss)]))
        assert (loss, (cost,), dict(point.choices)) in list(all_of(problem))


@settings(max_examples=30)
@given(problems(), st.integers(-20, 60))
def test_the_least_loss_under_a_bound_is_that_of_all_assignments(problem: Problem, bound: int) -> None:
    found = minimum(problem, LOSS, {"m0": bound})
    everything = list(all_of(problem))
    within = [(loss, costs) for loss, costs, _ in everything if costs[0] <= bound]
    if not everything:
        assert isinstance(found, NoOptions)
    elif not within:
        assert isinstance(found, Unreachable) and found.broken == ("m0",)
        assert found.nearest.costs[0] == min(costs[0] for _, costs, _ in everything)
    else:
        assert isinstance(found, Assignment)
        assert (found.loss, found.costs) == (float(min(within)[0]), min(within)[1])
        whole = frontier(problem, "m0")
        assert isinstance(whole, Frontier) and whole.under_cost(bound) == found


@settings(max_examples=30)
@given(problems(), plain)
def test_the_least_cost_under_a_loss_is_that_of_all_assignments(problem: Problem, bound: float) -> None:
    found = minimum(problem, "m0", {LOSS: bound})
    everything = list(all_of(problem))
    within = [(costs, loss) for loss, costs, _ in everything if float(loss) <= bound]
    if not everything:
        assert isinstance(found, NoOptions)
    elif not within:
        assert isinstance(found, Unreachable) and found.broken == (LOSS,)
        assert found.nearest.loss == float(min(loss for loss, _, _ in everything))
    else:
        assert isinstance(found, Assignment)
        assert (found.costs, found.loss) == (min(within)[0], float(min(within)[1]))


@settings(max_examples=30)
@given(problems(measures=2), st.sampled_from([LOSS, "m0"]))
def test_without_a_bound_each_unit_takes_its_best(problem: Problem, goal: str) -> None:
    found = minimum(problem, goal, {})
    order = [(loss, costs) if goal == LOSS else (costs[0], loss) for loss, costs, _ in all_of(problem)]
    if not order:
        assert isinstance(found, NoOptions)
        return
    assert isinstance(found, Assignment)
    best: Any = min(order)
    assert (found.loss, found.costs) == (float(best[0]), best[1]) if goal == LOSS else found.costs[0] == best[0]


@settings(max_examples=8)
@given(problems(measures=2, losses=st.floats(0, 1).map(lambda loss: round(loss, 3))), st.data())
def test_several_bounds_hold_in_integers_and_lose_least(problem: Problem, data: st.DataObject) -> None:
    pytest.importorskip("scipy")
    everything = list(all_of(problem))
    if not everything:
        assert isinstance(least(problem, LOSS, {"m0": 0, "m1": 0}), NoOptions)
        return
    low, high = data.draw(st.sampled_from(everything))[1]
    bounds = {"m0": low, "m1": high - data.draw(st.integers(0, 3))}
    found = least(problem, LOSS, bounds)
    within = [(loss, costs) for loss, costs, _ in everything if costs[0] <= bounds["m0"] and costs[1] <= bounds["m1"]]
    if not within:
        assert isinstance(found, Unreachable) and found.broken
        assert any(found.nearest.costs[at] > bounds[name] for at, name in enumerate(problem.measures))
    else:
        assert isinstance(found, Assignment)
        assert all(found.costs[at] <= bounds[name] for at, name in enumerate(problem.measures))
        assert found.loss == pytest.approx(float(min(within)[0]), abs=1e-9)


def layers(count: int, seed: int) -> Problem:
    """Layers as they are in networks: sizes over four orders of magnitude, losses that fall by 4 with each bit."""
    chance = np.random.default_rng(seed)
    units = []
    for at in range(count):
        elements, weight = int(10 ** chance.uniform(1, 5)), float(10 ** chance.uniform(-3, 0))
        options = [Option(f"int{b}", weight * 4.0**-b, ((elements * b + 7) // 8, elements)) for b in (8, 4, 2)]
        units.append(Unit(f"layer{at}", tuple(options)))
    return Problem(("size", "macs"), tuple(units))


@pytest.mark.parametrize("seed", range(3))
def test_highs_loses_what_the_recursion_loses(seed: int) -> None:
    pytest.importorskip("scipy")
    problem = layers(20, seed)
    smallest = minimum(problem, "size", {})
    assert isinstance(smallest, Assignment)
    bound = smallest.costs[0] * 2
    exact, other = minimum(problem, LOSS, {"size": bound}), least(problem, LOSS, {"size": bound})
    assert isinstance(exact, Assignment) and isinstance(other, Assignment)
    assert other.costs[0] <= bound
    assert exact.loss == pytest.approx(other.loss, rel=1e-9) and exact.loss <= other.loss


def test_54_layers_at_three_widths_are_exact_and_quick() -> None:
    """Far above what it takes on any machine; figures stand in tests/benchmarks."""
    problem = layers(54, 0)
    began = time.process_time()
    found = frontier(problem, "size")
    assert time.process_time() - began < 5
    assert isinstance(found, Frontier) and len(found) > 1000
    assert (np.diff(found.costs) > 0).all() and (np.diff(found.losses) <= 0).all()
    middle = len(found) // 2
    assert minimum(problem, LOSS, {"size": int(found.costs[middle])}) == found.assignment(middle)
    assert minimum(problem, LOSS, {"size": int(found.costs[middle]) + 0.9}) == found.assignment(middle)


def test_losses_that_floats_would_lose_decide() -> None:
    """1.0 + 2^-60 is 1.0 as a float: the second unit would look as if it did not matter."""
    units = (
        Unit("large", (Option("a", 1.0, (1,)), Option("b", 1e9, (0,)))),
        Unit("small", (Option("a", 0.0, (1,)), Option("b", 2.0**-60, (0,)))),
    )
    found = frontier(Problem(("size",), units), "size")
    assert isinstance(found, Frontier)
    assert found.costs.tolist() == [0, 1, 2]


def test_equal_layers_do_not_make_the_frontier_grow() -> None:
    """3^60 assignments, of which all with as many layers per width are equal, whatever the order of summing says."""
    options = tuple(Option(f"{bits} bit", 0.1 * 4.0**-bits, (bits,)) for bits in (8, 4, 2))
    found = frontier(Problem(("size",), tuple(Unit(f"u{i}", options) for i in range(60))), "size")
    assert isinstance(found, Frontier)
    assert len(found) <= 6 * 60 / 2 + 1


def test_a_frontier_beyond_the_cap_is_said_and_one_bound_needs_less() -> None:
    problem = layers(40, 1)
    assert frontier(problem, "size", cap=200) == Grown(200, 18)
    smallest = minimum(problem, "size", {})
    assert isinstance(smallest, Assignment)
    bound = smallest.costs[0] * 3 // 2
    assert minimum(problem, LOSS, {"size": bound}, cap=200) == minimum(problem, LOSS, {"size": bound})
    assert isinstance(minimum(problem, LOSS, {"size": bound}, cap=1), Grown)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 2 * MOST_LOSS])
def test_a_loss_that_is_no_number_is_named(loss: float) -> None:
    problem = Problem(("size",), (Unit("w", (Option("int8", 0.0, (1,)), Option("int4", loss, (1,)))),))
    for answer in (frontier(problem, "size"), minimum(problem, LOSS, {"size": 9}), minimum(problem, LOSS, {})):
        assert isinstance(answer, NotFinite) and (answer.unit, answer.option) == ("w", "int4")


def test_what_has_no_option_is_named() -> None:
    def of(*names: str) -> tuple[Option, ...]:
        return tuple(Option(name, 0.0, (1,)) for name in names)

    units = (Unit("a", of("x", "y")), Unit("b", of("y", "z")), Unit("c", of("x")))
    assert minimum(Problem(("size",), (*units, Unit("d", ()))), LOSS, {"size": 9}) == NoOptions(("d",))
    assert frontier(Problem(("size",), units, (("c", "b"),)), "size") == NoOptions(("b", "c"))
    assert frontier(Problem(("size",), units, (), (("a", "z"),)), "size") == NoOptions(("a",))
    assert frontier(Problem(("size",), units, (("a", "b"),), (("a", "x"),)), "size") == NoOptions(("a", "b"))
    joined = minimum(Problem(("size",), units, (("a", "b"),)), LOSS, {"size": 9})
    assert isinstance(joined, Assignment) and joined.choices == (("a", "y"), ("b", "y"), ("c", "x"))


@pytest.mark.parametrize(
    "problem",
    [
        Problem(("size",), (Unit("a", ()), Unit("a", ()))),
        Problem(("size",), (Unit("a", ()),), (("a", "b"),)),
        Problem(("size",), (Unit("a", ()),), (), (("b", "x"),)),
        Problem(("size",), (Unit("a", (Option("x", 0.0, (1, 2)),)),)),
        Problem(("size",), (Unit("a", (Option("x", 0.0, (1 << 62,)),)),)),
    ],
)
def test_a_problem_that_makes_no_sense_is_an_error(problem: Problem) -> None:
    with pytest.raises(ValueError):
        minimum(problem, LOSS, {"size": 9})


def test_an_answer_that_breaks_its_bound_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if HiGHS had taken a bound to be held that is passed: the answer after it is the best that holds."""
    pytest.importorskip("scipy")
    problem = layers(6, 3)
    points = frontier(problem, "size")
    assert isinstance(points, Frontier)
    bounds = {"size": int(points.costs[40]), "macs": 10**9}
    true, next_dearer = least(problem, LOSS, bounds), int(points.costs[41])
    assert true == points.assignment(40)
    asked, real = [], several_bounds._solved

    def loose(form: Any, objective: Any, limits: Any, cuts: Any) -> Any:
        asked.append(len(cuts))
        return real(form, objective, {**limits, "size": next_dearer}, cuts)

    monkeypatch.setattr(several_bounds, "_solved", loose)
    assert least(problem, LOSS, bounds) == true
    assert asked == list(range(len(asked))) and len(asked) > 1


def test_bounds_that_hold_one_by_one_and_not_together_show_what_is_nearest() -> None:
    pytest.importorskip("scipy")
    units = (Unit("w", (Option("a", 0.0, (10, 20)), Option("b", 0.0, (20, 10)), Option("c", 0.0, (14, 13)))),)
    found = minimum(Problem(("size", "macs"), units), LOSS, {"size": 12, "macs": 12})
    assert found == Unreachable(("size", "macs"), Assignment((("w", "c"),), 0.0, (14, 13)))


@pytest.mark.parametrize("bounds", [{"bytes": 0, "macs": 0}, {"bytes": 10**9, "macs": 10**9}])
def test_a_solver_without_an_answer_is_said_so(monkeypatch: pytest.MonkeyPatch, bounds: dict[str, float]) -> None:
    """Where something keeps the bounds, and where what is nearest to them is asked for."""
    units = tuple(Unit(name, (Option("a", 1.0, (1, 2)), Option("b", 2.0, (2, 1)))) for name in "xy")
    monkeypatch.setattr(several_bounds, "_asked", lambda *_: Unsolved("HiGHS: Node limit reached"))
    assert least(Problem(("bytes", "macs"), units), LOSS, bounds) == Unsolved("HiGHS: Node limit reached")


def test_what_highs_prints_does_not_reach_standard_output(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    real = optimize.milp

    def loud(*arguments: Any, **words: Any) -> Any:
        os.write(1, b"HiGHS says\n")
        return real(*arguments, **words)

    monkeypatch.setattr(optimize, "milp", loud)
    problem = layers(5, 0)
    os.write(1, b"before\n")
    assert isinstance(minimum(problem, LOSS, {"size": 10**9, "macs": 10**9}), Assignment)
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "before\nafter\n"


@pytest.mark.skipif(os.name != "posix", reason="needs the C library of the process")
def test_what_waits_in_a_buffer_of_c_does_not_reach_standard_output_later() -> None:
    code = (
        "import ctypes\nfrom qdsl.search.silent import silent\nc = ctypes.CDLL(None)\n"
        "c.printf(b'before\\n')\nwith silent():\n    c.printf(b'HiGHS says\\n')\nc.printf(b'after\\n')\n"
    )
    # without PYTHONUNBUFFERED, which also takes the buffer of C away
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert ran.stdout == "before\nafter\n"


@settings(max_examples=30)
@given(
    st.lists(st.integers(-(2**180), 2**180) | st.integers(-2, 2), min_size=1, max_size=30),
    st.integers(-(2**180), 2**180),
)
def test_limbs_add_and_compare_as_integers(values: list[int], one: int) -> None:
    limbs = np.concatenate([to_limbs(value, 4) for value in values], axis=1)
    total = added(limbs, to_limbs(one, 4))
    assert to_integers(total) == [value + one for value in values]
    lowest = [at for at, value in enumerate(values) if all(value < before for before in values[:at])]
    assert falling(total).tolist() == lowest
