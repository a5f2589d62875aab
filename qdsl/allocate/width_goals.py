"""What `allocate activations` is to keep to and to work towards, and what is told where it cannot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from qdsl.allocate.goals import refused
from qdsl.allocate.width_costs import ACTIVATION_BITS, MEASURES, Costs
from qdsl.cascade.carried import limit_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate, Limit
from qdsl.search import Refusal, Unreachable


@dataclass(frozen=True, slots=True)
class WidthGoal:
    """`measures` are the costs that count, first the one that is minimized, or bounded first; `smallest`: it is
    minimized instead of the loss; `measured`: some bound is decided by building alone."""

    measures: tuple[str, ...]
    limits: tuple[Limit, ...]
    smallest: bool
    measured: bool


def width_goal(spec: Allocate) -> WidthGoal:
    """What the statement asks for. Raises QdslError allocate-bound for what it cannot mean."""
    limits = tuple(limit for limit in spec.limits if limit.require.metric.name in MEASURES)
    measured, smallest = len(limits) < len(spec.limits), spec.minimize in MEASURES
    if smallest and (limits or not measured):
        told = "bounds another cost" if limits else "does not say what it may cost"
        headline = f"`minimize {spec.minimize}` {told}"
        cures = (f"bound metrics alone: `minimize {spec.minimize} under top1 drop <= 1 pp on DATA`",)
        raise QdslError([Diagnostic("allocate-bound", headline, spec.header, help=cures)])
    for limit in limits:
        _require_upper(limit)
    names = dict.fromkeys(limit.require.metric.name for limit in limits)
    measures = (spec.minimize,) if smallest and spec.minimize else tuple(names) or (ACTIVATION_BITS,)
    return WidthGoal(measures, limits, smallest, measured)


def _require_upper(limit: Limit) -> None:
    require = limit.require
    if require.form in ("value", "ratio") and require.comparison in ("<", "<=") and require.bound is not None:
        return
    headline = f"`allocate activations` cannot keep to `{limit_text(limit)}`"
    cures = ("bound it from above: `minimize loss under activation_bits <= 6`",)
    raise QdslError([Diagnostic("allocate-bound", headline, require.span, help=cures)])


def bounds(goal: WidthGoal, costs: Mapping[str, Costs]) -> dict[str, int]:
    """By measure the most that the sum over units may be."""
    found: dict[str, int] = {}
    for limit in goal.limits:
        of, require = costs[limit.require.metric.name], limit.require
        assert require.bound is not None, "`width_goal` has seen to it"
        whole = Fraction(repr(require.bound.base)) * (of.floats if require.form == "ratio" else 1) * of.each
        most = (math.ceil(whole) - 1 if require.comparison == "<" else math.floor(whole)) - of.fixed
        found[of.measure] = min(most, found.get(of.measure, most))
    return found


def cannot(answer: Refusal, spec: Allocate, costs: Sequence[Costs]) -> QdslError:
    """Why there is no choice."""
    if not isinstance(answer, Unreachable):
        return refused(answer, spec)
    least = [of.told(cost) for of, cost in zip(costs, answer.nearest.costs, strict=True)]
    at = next(at for at, of in enumerate(costs) if of.measure in answer.broken)
    limit = next(each for each in spec.limits if each.require.metric.name == costs[at].measure)
    share = limit.require.form == "ratio"
    told = f"{100 * least[at] / costs[at].floats:.3g} %" if share else figure(least[at])
    headline = f"no choice of widths keeps to `{limit_text(limit)}`: the nearest has {told}"
    cures = ("loosen the bound", "offer narrower widths: `from [8 bit, 6 bit, 4 bit]`")
    return QdslError([Diagnostic("allocate-width", headline, limit.require.span, help=cures)])


def figure(value: float) -> str:
    """A cost in words."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
