"""The cheapest labels of a graph, held against trying all of them."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qdsl.allocate.cut import Costs, least

COST = st.sampled_from([0.0, 0.125, 0.5, 1.0, 3.0])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Costs, dict[int, bool]]:
    count = draw(st.integers(1, 6))
    node = st.integers(0, count - 1)
    labels = draw(st.lists(st.tuples(COST, COST), min_size=count, max_size=count))
    pairs = draw(st.lists(st.tuples(node, node).filter(lambda pair: pair[0] < pair[1]) if count > 1 else st.nothing()))
    apart = {pair: draw(COST) for pair in pairs}
    unless = draw(st.lists(st.tuples(COST, st.sets(node, min_size=1).map(lambda s: tuple(sorted(s)))), max_size=4))
    return Costs(labels, apart, unless), draw(st.dictionaries(node, st.booleans(), max_size=2))


@pytest.mark.slow
@given(problems())
@example((Costs([(0.5, 1.0), (0.0, 3.0)], {}, [(0.5, (0,))]), {}))
@settings(max_examples=150, deadline=None)
def test_no_other_labels_cost_less(problem: tuple[Costs, dict[int, bool]]) -> None:
    costs, fixed = problem
    nodes = range(len(costs.labels))
    every = map(frozenset, chain.from_iterable(combinations(nodes, size) for size in range(len(nodes) + 1)))
    able = [each for each in every if all((node in each) == label for node, label in fixed.items())]
    found = least(costs, fixed)
    best = min(map(costs.of, able))
    assert found in able
    assert costs.of(found) == best
    assert all(found <= each for each in able if costs.of(each) == best)


def test_costs_are_of_any_size() -> None:
    costs = Costs([(3e-9, 1e-9), (1e-9, 2e-9)], {(0, 1): 5e-10})
    assert least(costs, {}) == {0}
    assert least(costs, {0: False}) == frozenset()
