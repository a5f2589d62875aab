"""What conversions between integers and floats cost, from builds that mix both: a Q or DQ timed alone leaves out what
comes with it, layouts that are turned around and activations that no longer fuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from qdsl.allocate.estimating import labels_of
from qdsl.allocate.hull import Chosen, hull
from qdsl.allocate.units import Groups
from qdsl.spec.allocation import Estimates

ROUNDS = 3  # of timing: where conversions cost more, other choices come next
LEAST = 0.02  # of a build's time that conversions take: of less, a race tells nothing
MOST = 4.0  # times what the kernels take: more is no matter of conversions, but of other programs


def with_conversions(
    groups: Groups, estimates: Estimates, fixed: Mapping[int, bool], timed: Callable[[Chosen], float | None]
) -> Estimates:
    """The estimates with conversions at what they were seen to cost. `timed` tells what a choice takes as a whole, in
    the unit of the estimates; None where it cannot be timed, which ends this. Each round times a choice from the middle
    of the hull, and the factor is that of all rounds together."""
    plain = labels_of(groups, replace(estimates, quantize=0.0, dequantize=0.0), fixed)
    alone = labels_of(groups, estimates, fixed)
    seen, expected, found = 0.0, 0.0, estimates
    for _ in range(ROUNDS):
        path = hull(labels_of(groups, found, fixed))
        chosen = path[len(path) // 2]
        converting = alone.cost(chosen) - plain.cost(chosen)
        if converting <= LEAST * alone.cost(chosen):
            break
        taken = timed(chosen)
        if taken is None:
            break
        seen, expected = seen + taken - plain.cost(chosen), expected + converting
        factor = min(max(seen / expected, 1.0), MOST)
        found = replace(estimates, quantize=estimates.quantize * factor, dequantize=estimates.dequantize * factor)
    return found
