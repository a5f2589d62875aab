"""How each tensor's range is found: observed on data, taken from a cache, or written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qdsl.cascade.cascade import Voice
from qdsl.lang.recipe import Calibrate, FixedRange
from qdsl.plan.cached import from_cache
from qdsl.plan.context import Context
from qdsl.spec import Scheme
from qdsl.spec.plan import FIXED, Calibration, TensorPlan

_DEFAULT = "minmax"


def calibration(context: Context, tensor: str, speakers: tuple[int, ...], scheme: Scheme) -> Calibration:
    """What the recipe says of the range of `tensor`, stored as `scheme`: the later of `range` and `calibrate` wins, a
    range by hand over the mode."""
    ranged = context.asked("range", tensor, speakers)
    observed = context.asked("calibrate", tensor, speakers)
    if ranged.voices and _place(ranged.voices) >= _place(observed.voices):
        fixed = ranged.value
        assert isinstance(fixed, FixedRange)
        return Calibration(FIXED, low=fixed.low, high=fixed.high, origin=ranged.voices[-1].origin)
    said = observed.value
    if not isinstance(said, Calibrate):
        return Calibration(_DEFAULT)
    origin = observed.voices[-1].origin
    if said.cache is not None:
        return from_cache(context, said, tensor, scheme, origin)
    return Calibration(said.method, said.data, said.percentile, said.symmetric, origin=origin)


def settle_groups(context: Context, plans: Iterable[TensorPlan]) -> tuple[TensorPlan, ...]:
    """A range by hand holds for the whole group that shares its scale; two different ones in one group contradict."""
    plans = tuple(plans)
    fixed: dict[str, TensorPlan] = {}
    for plan in plans:
        if plan.calibration.method != FIXED:
            continue
        other = fixed.setdefault(plan.group, plan)
        if _ends(other) != _ends(plan):
            _contradiction(context, other, plan)
    return tuple(_under(plan, fixed) for plan in plans)


def _under(plan: TensorPlan, fixed: Mapping[str, TensorPlan]) -> TensorPlan:
    ruler = fixed.get(plan.group)
    if ruler is None:
        return plan
    return replace(plan, calibration=ruler.calibration, observe=plan.tensor == ruler.tensor)


def _ends(plan: TensorPlan) -> tuple[float | None, float | None]:
    return plan.calibration.low, plan.calibration.high


def _contradiction(context: Context, one: TensorPlan, other: TensorPlan) -> None:
    context.diags.error(
        "rule-conflict",
        f"`{one.tensor}` and `{other.tensor}` share one scale but have different ranges by hand",
        label=f"[{one.calibration.low:g}, {one.calibration.high:g}] ({one.calibration.origin}) and "
        f"[{other.calibration.low:g}, {other.calibration.high:g}] ({other.calibration.origin})",
        help=["give both the same range, or only one of them"],
    )


def missing_data(context: Context, plans: Iterable[TensorPlan]) -> None:
    """Report tensors that have to be observed with no dataset named."""
    plans = tuple(plans)
    bare = [plan.tensor for plan in plans if plan.observe and not plan.calibration.data and plan.calibration.measured]
    if bare:
        more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
        method = next(plan.calibration.words for plan in plans if plan.tensor == bare[0])
        names = [data.name for data in context.origins.recipe.data]
        on, rest = (names[0], "") if names else ("DATA", ", with `data DATA from ...`")
        context.diags.error(
            "calibration-missing",
            "static quantization has to be told which data to calibrate on",
            context.cascade.mode.span,
            label=f"no data for the range of `{bare[0]}`{more}",
            help=[f"write `calibrate {method} on {on}` in the `quantize` block{rest}"],
        )


def _place(voices: tuple[Voice, ...]) -> int:
    return voices[-1].rule if voices else -2
