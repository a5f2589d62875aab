"""Scales and zero points for everything a plan stores as integers, before any node is written.

Read by `insert_qdq`. A group of activations takes one scale from the union of its members' ranges. A weight takes its
own, raised where the int32 bias added to its products would overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView, NodeView
from qdsl.quant import (
    LARGEST_FLOAT16,
    QParams,
    raise_scale_for_bias,
    scale_zero_point,
    storage_type,
    weight_parameters,
    whole_inverse,
)
from qdsl.rewrite import PairsPlan
from qdsl.spec import Granularity, Scheme, WeightKey
from qdsl.spec.plan import FIXED, BiasPlan, TensorPlan, WeightPlan

Array = NDArray[Any]
Values = Callable[[str], Array]
_EVERYTHING = (float("-inf"), float("inf"))


class RangesLike(Protocol):
    """Measured ranges: the lowest and highest value of each observed tensor, and the means of the channels of those
    whose readers get a corrected bias."""

    @property
    def low(self) -> Mapping[str, float]: ...

    @property
    def high(self) -> Mapping[str, float]: ...

    @property
    def means(self) -> Mapping[str, Sequence[float]]: ...


class PlanLike(PairsPlan, Protocol):
    """The part of a plan that places QuantizeLinear and DequantizeLinear, and that moves biases which stay float.
    `recipe` is the recipe's name."""

    @property
    def float_biases(self) -> Sequence[BiasPlan]: ...

    @property
    def recipe(self) -> str: ...

    @property
    def mode(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Parameters:
    """QParams per group of activations and per stored weight."""

    groups: Mapping[str, QParams]
    weights: Mapping[WeightKey, QParams]


def parameters(plan: PlanLike, ranges: RangesLike, view: GraphView, model: Model) -> Parameters:
    """All scales and zero points of `plan`, with the constants of `model`, whose view is `view`.

    Raises QdslError for ranges that are missing or not finite and for weights that hold NaN or infinity, all at once.
    """
    found: list[Diagnostic] = []
    groups = _groups(plan.tensors, ranges, view, model.values, found)
    weights = _collect(_by_key(plan.weights, view), lambda plans: _weight(plans, view, model.values, ranges), found)
    if found:
        raise model.errors(found)
    return Parameters(groups, _raised(plan, groups, weights, view, model.values))


def activation_parameters(
    tensors: Sequence[TensorPlan], ranges: RangesLike, view: GraphView, model: Model
) -> dict[str, QParams]:
    """The scales and zero points of activations alone, by group. Raises as `parameters` does."""
    found: list[Diagnostic] = []
    groups = _groups(tensors, ranges, view, model.values, found)
    if found:
        raise model.errors(found)
    return groups


def _groups(
    tensors: Sequence[TensorPlan], ranges: RangesLike, view: GraphView, values: Values, found: list[Diagnostic]
) -> dict[str, QParams]:
    return _collect(_by_group(tensors), lambda members: _group(members, ranges, view, values), found)


def weight_key(plan: WeightPlan, view: GraphView) -> WeightKey:
    """The stored integers that `plan` reads. Its axis counts channels, or is the one cut into blocks (per block)."""
    shape = view.tensors[plan.tensor].shape or ()
    if plan.scheme.granularity is Granularity.PER_TENSOR or plan.axis is None:
        return WeightKey(plan.tensor, plan.scheme, None, plan.guard)
    return WeightKey(plan.tensor, plan.scheme, plan.axis % len(shape), plan.guard)


def bounds(view: GraphView, tensor: str) -> tuple[float, float]:
    """What `tensor` can hold because a Relu or a Clip with constant bounds writes it; infinite ends where unbounded."""
    node = view.producer(tensor)
    if node is None or node.domain:
        return _EVERYTHING
    if node.op == "Relu":
        return 0.0, float("inf")
    return _clip_bounds(view, node) if node.op == "Clip" else _EVERYTHING


def _clip_bounds(view: GraphView, node: NodeView) -> tuple[float, float]:
    ends = []
    for port, attribute, free in ((1, "min", _EVERYTHING[0]), (2, "max", _EVERYTHING[1])):
        name = node.inputs[port] if port < len(node.inputs) else ""
        constant = view.small.get(name) if view.is_constant(name) else None
        written = node.attrs.get(attribute)
        if constant:
            ends.append(float(constant[0]))
        else:
            ends.append(float(written) if isinstance(written, (int, float)) and not name else free)
    return min(ends), ends[1]  # crossed, all is the upper one


def _collect(parts: Mapping[Any, Any], make: Callable[[Any], QParams], found: list[Diagnostic]) -> dict[Any, QParams]:
    made = {}
    for key, part in parts.items():
        try:
            made[key] = make(part)
        except QdslError as error:
            found += error.diagnostics
    return made


def _by_group(tensors: Sequence[TensorPlan]) -> dict[str, list[TensorPlan]]:
    groups: dict[str, list[TensorPlan]] = {}
    for plan in tensors:
        groups.setdefault(plan.group, []).append(plan)
    return groups


def _by_key(weights: Sequence[WeightPlan], view: GraphView) -> dict[WeightKey, list[WeightPlan]]:
    keys: dict[WeightKey, list[WeightPlan]] = {}
    for plan in weights:
        keys.setdefault(weight_key(plan, view), []).append(plan)
    return keys


def _group(members: Sequence[TensorPlan], ranges: RangesLike, view: GraphView, values: Values) -> QParams:
    """One scale for `members`: the union of their ranges, kept inside the Clips that write them where they allow it."""
    first = members[0]
    if any(member.scheme != first.scheme for member in members):
        raise ValueError(f"the plan gives group {first.group} two schemes")
    measured = [_range(member, ranges, view, values) for member in members]
    ends = [pair for pair in measured if pair is not None]
    if not ends:
        raise QdslError([_missing(first.tensor)])
    low, high = min(0.0, *(e[0] for e in ends)), max(0.0, *(e[1] for e in ends))
    clips = [bounds(view, member.tensor) for member in members]
    within = [clip for clip in clips if clip[0] <= low and high <= clip[1]] or [_EVERYTHING]
    inside = max(clip[0] for clip in within), min(clip[1] for clip in within)
    scale, zero = scale_zero_point(low, high, first.scheme, within=inside, name=first.tensor)
    if any(_by_softmax(member.tensor, view) for member in members) and not first.scheme.float16_scales:
        scale = whole_inverse(scale)
    _refuse_past_float16(first.tensor, first.scheme, max(-low, high))
    dtype = first.scheme.dtype
    return QParams(np.asarray(scale), np.asarray(zero, storage_type(dtype)), dtype)


def _by_softmax(tensor: str, view: GraphView) -> bool:
    """Whether a Softmax writes `tensor`. ONNX Runtime's integer kernel multiplies by floor(1 / scale): with 1 / 255 in
    float32, by 254, so that one probability in eight comes out a step low."""
    node = view.producer(tensor)
    return node is not None and node.op == "Softmax" and not node.domain


def _range(plan: TensorPlan, ranges: RangesLike, view: GraphView, values: Values) -> tuple[float, float] | None:
    """What `plan` adds to its group: a range that the plan has as it is, a measured one inside its structural bounds;
    None when it only follows the others."""
    known = plan.calibration
    if known.low is not None and known.high is not None and (plan.observe or known.method == FIXED):
        return known.low, known.high
    if not plan.observe:
        return None
    if plan.tensor in ranges.low and plan.tensor in ranges.high:
        floor, ceiling = bounds(view, plan.tensor)
        low, high = float(ranges.low[plan.tensor]), float(ranges.high[plan.tensor])
        return (low, high) if low != low or high != high else (max(low, floor), min(high, ceiling))
    if view.is_constant(plan.tensor):
        constant = values(plan.tensor)
        return float(np.min(constant, initial=0.0)), float(np.max(constant, initial=0.0))
    raise QdslError([_missing(plan.tensor)])


def _weight(plans: Sequence[WeightPlan], view: GraphView, values: Values, ranges: RangesLike) -> QParams:
    """Of a constant that has a range, as a mask does, no more than that."""
    key = weight_key(plans[0], view)
    constant = values(key.tensor)
    if key.tensor in ranges.low and not np.isnan(constant).any():
        constant = np.clip(constant, np.float32(ranges.low[key.tensor]), np.float32(ranges.high[key.tensor]))
    _refuse_past_float16(key.tensor, key.scheme, float(np.max(np.abs(constant), initial=0.0)))
    return weight_parameters(constant, key.scheme, key.axis, key.tensor, key.guard)


def _refuse_past_float16(tensor: str, scheme: Scheme, reach: float) -> None:
    """Raises QdslError (float16-overflow) where float16 does not hold what the largest integer stands for. What is not
    finite has an error of its own."""
    if not scheme.float16_scales or not LARGEST_FLOAT16 < reach * (1 + 2.0**-10) < float("inf"):
        return
    headline = f"`{tensor}` reaches {reach:g}, past float16's largest value, {LARGEST_FLOAT16:g}"
    cures = ("leave the nodes that write and read it in float32: `keep X in float32`",)
    raise QdslError([Diagnostic("float16-overflow", headline, help=cures)])


def _raised(
    plan: PlanLike,
    groups: Mapping[str, QParams],
    weights: Mapping[WeightKey, QParams],
    view: GraphView,
    values: Values,
) -> dict[WeightKey, QParams]:
    """`weights`, each scale raised for every int32 bias that is added to its products."""
    group_of = {tensor.tensor: tensor.group for tensor in plan.tensors}
    at = {(weight.node, weight.port): weight_key(weight, view) for weight in plan.weights}
    raised = dict(weights)
    for bias in plan.biases:
        key = at[bias.node, bias.weight_port]
        old = raised[key]
        step = np.float32(groups[group_of[bias.activation]].scale)
        scale = raise_scale_for_bias(old.scale, step, values(bias.tensor).reshape(-1))
        raised[key] = QParams(scale, old.zero_point, old.dtype, old.axis, old.block)
    return raised


def _missing(tensor: str) -> Diagnostic:
    return Diagnostic(
        "range-missing",
        f"tensor `{tensor}` was never measured",
        label="the plan quantizes it, the ranges do not have it",
        help=("calibrate with this plan, or set its range by hand: `range [lo, hi]`",),
    )
