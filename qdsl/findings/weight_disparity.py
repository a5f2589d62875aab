"""Weights with one scale per tensor whose channels differ so much that the smaller ones are rounded away.

Bound: 100 times, where int8 leaves a channel -1, 0 and 1. Measured: no weight of YOLOv8n or ResNet-8 comes near it, the
depthwise convolutions of MobileNet v1 and YOLOX-nano pass it by far. Channels a million times smaller than the largest
are what training has switched off: nothing in them can be lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdsl.diag import Span
from qdsl.graph import Model
from qdsl.plan import Decisions
from qdsl.spec import Granularity
from qdsl.spec.plan import WeightPlan

_APART = 100.0
_DEAD = 1e6


@dataclass(frozen=True, slots=True)
class Lost:
    """A node of whose `channels` output channels `lost` are rounded away, the smallest `ratio` times smaller than the
    largest; they are stored as `dtype`. `span` is the rule that asked for one scale, None for the target's default."""

    node: str
    channels: int
    lost: int
    ratio: float
    dtype: str
    span: Span | None


def lost_channels(model: Model, decided: Decisions) -> tuple[Lost, ...]:
    """Every such weight of the plan, the one that loses most first. `model` is canonical."""
    per_tensor = (w for w in decided.plan.weights if w.scheme.granularity is Granularity.PER_TENSOR)
    found = [one for weight in per_tensor if (one := _lost(model, decided, weight)) is not None]
    return tuple(sorted(found, key=lambda one: (-one.lost / one.channels, -one.ratio, one.node)))


def _lost(model: Model, decided: Decisions, weight: WeightPlan) -> Lost | None:
    context = decided.context
    node = context.view.node(weight.node)
    row = context.rows[node.index]
    shape = context.view.tensors[weight.tensor].shape
    if weight.port not in row.weights or shape is None or len(shape) < 2 or not weight.scheme.dtype.integer:
        return None
    axis = len(shape) - 1 if node.op == "MatMul" else row.channel_axis.of(node) if row.channel_axis else 0
    values = np.abs(np.moveaxis(model.values(weight.tensor), axis, 0))
    sizes = values.reshape(values.shape[0], -1).max(axis=1, initial=0.0).astype(np.float64)
    largest = float(sizes.max(initial=0.0))
    small = sizes[(sizes > largest / _DEAD) & (sizes < largest / _APART)]
    if not small.size:
        return None
    voices = context.cascade.resolve("weights", context.cascade.node_rules[node.index]).voices
    said = [voice.span for voice in voices if getattr(voice.value, "granularity", None) is not None]
    ratio = largest / float(small.min())
    return Lost(node.name, sizes.size, small.size, ratio, weight.scheme.dtype.name, said[-1] if said else None)
