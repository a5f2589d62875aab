"""Choices that are worth measuring, from estimates: for every loss the cheapest labels, on the hull of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.allocate.cut import Costs, least
from qdsl.allocate.losses import Loss

MOST = 96  # choices on the hull
_EXACT = 1e-9
_LARGEST = 1e9  # times the costs: with it, no loss is left that float could take away

Chosen = frozenset[int]  # the groups in float


@dataclass(frozen=True)
class Estimates:
    """What labels cost and lose: `costs` without losses, `losses` of roundings, and the labels that are `fixed`."""

    costs: Costs
    losses: Sequence[Loss]
    fixed: Mapping[int, bool]

    def cost(self, chosen: Chosen) -> float:
        return self.costs.of(chosen)

    def loss(self, chosen: Chosen) -> float:
        """Noise over signal of the outputs."""
        return sum(each.noise for each in self.losses if not chosen.issuperset(each.groups))

    def best(self, weight: float, fixed: Mapping[int, bool] | None = None) -> Chosen:
        """The labels of the least cost and `weight` times the loss."""
        unless = [(each.noise * weight, each.groups) for each in self.losses] if weight else []
        return least(replace(self.costs, unless=unless), {**self.fixed, **(fixed or {})})


def hull(estimates: Estimates) -> tuple[Chosen, ...]:
    """The labels that are the best for some weight of their loss, the cheapest first (Eisner and Severance, 1976: where
    two of them cost the same is the weight that shows the next between)."""
    most = sum(max(pair) for pair in estimates.costs.labels) + sum(estimates.costs.apart.values())
    noise = min((each.noise for each in estimates.losses if each.noise > 0), default=1.0)
    first, last = estimates.best(0.0), estimates.best(_LARGEST * max(most, _EXACT) / noise if noise else 0.0)
    found = [first, *_between(estimates, first, last, MOST), last]
    return tuple(dict.fromkeys(found))


def _between(estimates: Estimates, low: Chosen, high: Chosen, most: int) -> Iterator[Chosen]:
    """What is better than both ends for the weight at which they are alike, in order."""
    gained, paid = estimates.loss(low) - estimates.loss(high), estimates.cost(high) - estimates.cost(low)
    if most < 1 or gained <= 0 or paid <= 0:
        return
    weight = paid / gained
    found = estimates.best(weight)

    def whole(chosen: Chosen) -> float:
        return estimates.cost(chosen) + weight * estimates.loss(chosen)

    if found in (low, high) or whole(found) >= whole(low) * (1 - _EXACT):
        return
    yield from _between(estimates, low, found, most // 2)
    yield found
    yield from _between(estimates, found, high, most // 2)
