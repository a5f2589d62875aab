"""Ranges of tensors that were not measured for themselves: another plan of the same model may need them."""

from __future__ import annotations

from dataclasses import replace

from qdsl.calibrate import Ranges
from qdsl.spec.plan import Plan


def filled(plan: Plan, ranges: Ranges) -> Ranges:
    """`ranges` with those of tensors that have one scale with measured ones in `plan`, and so no range of their own: as
    wide as the scale that they have there."""
    known: dict[str, tuple[float, float]] = {}
    for tensor in plan.tensors:
        if tensor.tensor in ranges.low:
            ends = ranges.low[tensor.tensor], ranges.high[tensor.tensor]
            low, high = known.get(tensor.group, ends)
            known[tensor.group] = min(low, ends[0]), max(high, ends[1])
    missing = {
        tensor.tensor: known[tensor.group]
        for tensor in plan.tensors
        if tensor.tensor not in ranges.low and tensor.calibration.measured and tensor.group in known
    }
    if not missing:
        return ranges
    lows = {**ranges.low, **{name: ends[0] for name, ends in missing.items()}}
    highs = {**ranges.high, **{name: ends[1] for name, ends in missing.items()}}
    return replace(ranges, low=dict(sorted(lows.items())), high=dict(sorted(highs.items())))
