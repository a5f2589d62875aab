"""What conversions cost, from races of choices that mix integers and floats."""

from __future__ import annotations

import pytest

from qdsl.allocate.conversions import MOST, ROUNDS, with_conversions
from qdsl.allocate.estimating import labels_of
from qdsl.allocate.hull import Chosen
from qdsl.allocate.units import Crossing, Group, Groups
from qdsl.spec.allocation import Estimates, Layer, Rounding

COUNT = 12
GROUPS = Groups(
    tuple(Group((f"n{at}",), 10) for at in range(COUNT)),
    tuple(Crossing(f"t{at}", at, (at + 1,), 5000) for at in range(COUNT - 1)),
)
# Layers cost the same in integers as in float, or a fifth of it; noise differs.
LAYERS = tuple(Layer(f"n{at}", 1, 10, 1.0 if at % 3 else 0.2, 1.0) for at in range(COUNT))
ROUNDINGS = tuple(Rounding(0.1 * (1 + at % 5), (at,)) for at in range(COUNT))
KNOWN = Estimates("ms", LAYERS, ROUNDINGS, 1e-5, 2e-5)


class Clock:
    """A machine on which conversions take so many times what their kernels do."""

    def __init__(self, factor: float) -> None:
        rates = {"quantize": KNOWN.quantize * factor, "dequantize": KNOWN.dequantize * factor}
        self._true = labels_of(GROUPS, Estimates("ms", LAYERS, ROUNDINGS, **rates), {})
        self.asked: list[Chosen] = []

    def __call__(self, chosen: Chosen) -> float:
        self.asked.append(chosen)
        return self._true.cost(chosen)


@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0])
def test_the_factor_is_found(factor: float) -> None:
    clock = Clock(factor)
    found = with_conversions(GROUPS, KNOWN, {}, clock)
    assert found.quantize == pytest.approx(KNOWN.quantize * factor)
    assert found.dequantize == pytest.approx(KNOWN.dequantize * factor)
    assert found.layers == KNOWN.layers and 0 < len(clock.asked) <= ROUNDS
    assert all(0 < len(chosen) < COUNT for chosen in clock.asked)  # of both kinds


@pytest.mark.parametrize(("factor", "told"), [(0.1, 1.0), (1000.0, MOST)])
def test_what_other_programs_do_to_a_race_stays_within_bounds(factor: float, told: float) -> None:
    found = with_conversions(GROUPS, KNOWN, {}, Clock(factor))
    assert found.quantize == pytest.approx(KNOWN.quantize * told)


def test_without_a_race_they_cost_what_their_kernels_take() -> None:
    assert with_conversions(GROUPS, KNOWN, {}, lambda chosen: None) == KNOWN


def test_where_nothing_is_converted_nothing_is_raced() -> None:
    clock = Clock(3.0)
    alone = Groups(GROUPS.groups, ())
    assert with_conversions(alone, KNOWN, {}, clock) == KNOWN and not clock.asked


def test_where_nothing_takes_time_nothing_is_raced() -> None:
    none = Estimates("ms", tuple(Layer(each.node, 1, 10, 0.0, 0.0) for each in LAYERS), ROUNDINGS, 0.0, 0.0)
    clock = Clock(3.0)
    assert with_conversions(GROUPS, none, {}, clock) == none and not clock.asked
