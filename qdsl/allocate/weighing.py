"""What layers lose, weighed by the metric that the bounds are on.

Noise at the outputs is not what a metric makes of it: a detector's boxes may be noisy where nothing is found. So parts
of the net, some layers in a row each, are put into float one after the other, and what the metric gains says how much
the noise of each part counts. Half of a part's weight stays with its noise: a metric on few samples moves by chance,
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qdsl.allocate.hull import Chosen, Estimates
from qdsl.allocate.losses import Loss


def parts_of(estimates: Estimates, count: int, multiplying: Sequence[int]) -> list[Chosen]:
    """Groups in a row, in graph order, in so many parts that cost about alike in float. What does not multiply is with
    what stands before it: a rounding between both is gone only where both are in float. What is fixed is in none."""
    extra = [max(0.0, of_float - of_integers) for of_integers, of_float in estimates.costs.labels]
    total, done = sum(extra) or 1.0, 0.0
    found: list[set[int]] = [set() for _ in range(count)]
    starts, part = set(multiplying), 0
    for at, each in enumerate(extra):
        part = min(count - 1, int(count * (done + each / 2) / total)) if at in starts else part
        if at not in estimates.fixed:
            found[part].add(at)
        done += each
    return [frozenset(part) for part in found if part]


def weighed(estimates: Estimates, base: Chosen, parts: Sequence[Chosen], gains: Sequence[float]) -> Estimates:
    """The estimates with the losses of each part so large that what parts lose is, half, as `gains` are to each other:
    how much further inside the bounds `base` is with the part in float."""
    noise = [estimates.loss(base) - estimates.loss(base | part) for part in parts]
    gained = [max(0.0, gain) for gain in gains]
    if not sum(gained) or not sum(noise):
        return estimates
    weights = {
        at: (gain / sum(gained) + own / sum(noise)) / (2 * own / sum(noise))
        for part, gain, own in zip(parts, gained, noise, strict=True)
        if own > 0
        for at in part
    }
    return replace(estimates, losses=[_weighed(each, weights) for each in estimates.losses])


def _weighed(loss: Loss, weights: dict[int, float]) -> Loss:
    """A rounding between two parts has the mean of both."""
    return replace(loss, noise=loss.noise * sum(weights.get(at, 1.0) for at in loss.groups) / len(loss.groups))
