"""Spell Relu and bounded Relu in one way.

Rules, each on float tensors and constant bounds:

    Clip(x)                      ->  x                  no bounds, or bounds at the ends of the type
    Clip(x, 0, none or +inf)     ->  Relu(x)
    Max(x, 0)                    ->  Relu(x)
    Relu(Relu(x)) , Relu(Clip(x, a >= 0, b))  ->  the inner one
    Min(Max(x, a), b), Max(Min(x, b), a)      ->  Clip(x, a, b)     a <= b, inner one read by nobody else
    Min(Relu(x), b)                           ->  Clip(x, 0, b)     b >= 0, likewise

Bounds are attributes of Clip below opset 11 and inputs from there on; either is read, and the form of the model's opset
is written. Refuses Clip with computed bounds, and leaves whatever could broadcast to another shape.
Guarantees that a bounded Relu is one Clip node that keeps the name of the outer node and its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.bounds import bounds, data_and_bound
from qdsl.graph.dtypes import number_of, numpy_type
from qdsl.graph.edit import add_constant, become, bypass, remove_node
from qdsl.graph.model import Model
from qdsl.graph.walk import only_writer
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import bypass_obstacle, is_op

_INPUT_FORM = 11  # opset from which Clip takes its bounds as inputs


class Match(NamedTuple):
    """A rule that fits: its name, the nodes it takes in (the last one stays by name), and the edit."""

    rule: str
    nodes: tuple[gs.Node, ...]
    edit: Callable[[], None]


def clips_normal(model: Model) -> Iterator[str]:
    """No Clip that is a Relu or does nothing, no Relu of a Relu, no Max and Min that are a Clip."""
    return (node.name for node in model.nodes() if first_match(model, node) is not None)


@dataclass(frozen=True, slots=True)
class NormaliseClip(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_clip"
    summary: ClassVar[str] = "spell Relu and bounded Relu in one way"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)
    ensures: ClassVar[tuple[Fact, ...]] = (clips_normal,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        waiting = list(reversed(model.nodes()))
        while waiting:
            node = waiting.pop()
            if is_op(node, "Clip") and node.outputs and bounds(node) is None:
                changes.refuse(node.name, "its bounds are computed")
            match = first_match(model, node) if node.outputs else None
            if match is not None:
                changes.fire(match.rule, [one.name for one in match.nodes])
                outer = node.outputs[0]
                match.edit()
                # What now writes the tensor, and what reads it, may fit another rule.
                waiting += [*outer.outputs, *outer.inputs]
        return changes.outcome()


def first_match(model: Model, node: gs.Node) -> Match | None:
    """The first rule that fits with `node` as its outermost node."""
    if not is_op(node, "Clip", "Relu", "Max", "Min") or not _is_float(node):
        return None
    return _plain_clip(model, node) or _nested(model, node) or _min_max(model, node)


def _is_float(node: gs.Node) -> bool:
    tensor = node.outputs[0] if node.outputs else None
    kind = None if tensor is None or isinstance(tensor, gs.Constant) else tensor.dtype
    plain = numpy_type(kind) if isinstance(kind, int) else kind
    return plain is not None and np.dtype(plain).kind == "f"


def _plain_clip(model: Model, node: gs.Node) -> Match | None:
    ends = bounds(node)
    if ends is None or node.op == "Relu":
        return None
    data = node.inputs[0] if node.op == "Clip" else _data(node)
    if ends == (-np.inf, np.inf):
        free = data is node.inputs[0] and bypass_obstacle(model, node) is None
        return Match("clip_without_bounds", (node,), lambda: bypass(model, node)) if free else None
    if ends == (0.0, np.inf):
        return Match(f"{node.op.lower()}_is_relu", (node,), lambda: _become(model, node, data, ends))
    return None


def _nested(model: Model, node: gs.Node) -> Match | None:
    """A Relu of something that is never negative."""
    inner = model.producer(node.inputs[0]) if node.op == "Relu" else None
    if inner is None or not is_op(inner, "Relu", "Clip") or bypass_obstacle(model, node) is not None:
        return None
    ends = bounds(inner)
    if ends is None or ends[0] < 0 or ends[1] < 0:
        return None
    return Match("relu_of_positive", (inner, node), lambda: bypass(model, node))


def _min_max(model: Model, node: gs.Node) -> Match | None:
    """Max and Min around each other, or Min around a Relu."""
    pair = data_and_bound(node)
    inner = None if pair is None else only_writer(model, pair[0])
    if inner is None or not is_op(inner, "Max", "Min", "Relu") or inner.op == node.op:
        return None
    near, far = bounds(inner), bounds(node)
    if near is None or far is None:
        return None
    low, high = max(near[0], far[0]), min(near[1], far[1])
    if low > high or (low, high) == (-np.inf, np.inf):
        return None
    return Match("min_max_is_clip", (inner, node), lambda: _merge(model, inner, node, (low, high)))


def _data(node: gs.Node) -> gs.Tensor:
    pair = data_and_bound(node)
    return node.inputs[0] if pair is None else pair[0]


def _merge(model: Model, inner: gs.Node, node: gs.Node, ends: tuple[float, float]) -> None:
    _become(model, node, _data(inner), ends)
    remove_node(model, inner)


def _become(model: Model, node: gs.Node, data: gs.Tensor, ends: tuple[float, float]) -> None:
    """Turn `node` into the Relu or Clip of `data`. The old bounds are left for dead code."""
    if ends == (0.0, np.inf):
        become(model, node, "Relu", [data])
        return
    finite = {key: end for key, end in zip(("min", "max"), ends, strict=True) if np.isfinite(end)}
    if model.opset < _INPUT_FORM:
        become(model, node, "Clip", [data], finite)
        return
    kind = np.dtype(numpy_type(number_of(node.outputs[0].dtype)))
    tensors = {key: add_constant(model, f"{node.name}_{key}", np.array(end, kind)) for key, end in finite.items()}
    become(model, node, "Clip", [data, tensors.get("min"), tensors.get("max")][: 3 if "max" in tensors else 2])
