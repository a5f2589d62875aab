"""What a plan cannot know without data and measured ranges decide: whether a Clip cuts anything off.

A plan takes the cautious side, so that the file is the same whatever the data; where the runtime then does better than
planned, that is said.
"""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, Severity
from qdsl.plan import Decisions
from qdsl.plan.apart import predict_kept
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain

_SHOWN = 3


def moved_verdicts(decided: Decisions, ranges: Ranges) -> Iterable[Diagnostic]:
    """A note that names the nodes which run otherwise than planned, with these ranges."""
    plan, context = decided.plan, decided.context
    if plan.mode in ("dynamic", AS_IT_IS):
        return  # no verdict depends on ranges: they are found at run time, or stand in the file
    tensors = {tensor.tensor: tensor for tensor in plan.tensors}
    known = {name: (ranges.low[name], ranges.high[name]) for name in ranges.low}
    now, _ = predict_kept(context, tensors, plan.weights, plan.biases, known)
    halves = {half.node for half in plan.halves}
    planned = {node.node: node.prediction.runs for node in plan.nodes}
    # `moves` runs as its input does, in integers or floats: no verdict to differ from.
    steady = {n for n, found in now.items() if "moves" in (found.runs, planned[n])} | halves
    moved = [n for n, found in now.items() if found.runs != planned[n] and n not in steady]
    if not moved:
        return
    count = "1 node runs" if len(moved) == 1 else f"{len(moved)} nodes run"
    notes = [f"{plain(name)}: planned {planned[name]}, now {now[name].runs}" for name in moved[:_SHOWN]]
    notes += [f"and {len(moved) - _SHOWN} more"] if len(moved) > _SHOWN else []
    headline = f"with the measured ranges, {count} otherwise than planned without data"
    yield Diagnostic("verdict-moved", headline, context.cascade.mode.span, notes=tuple(notes), severity=Severity.NOTE)
