"""Functions of single values: clips that the operator before them does by itself, tables of integers, floats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.functions import FUNCTIONS
from qdsl.integer.lower_values import INFINITE, Const, Floats, Of, Pending, Step, Value
from qdsl.integer.lower_work import Work

CLIPS = ("Relu", "Clip")


def function(work: Work, node: NodeView) -> None:
    value = work.value(node, 0)
    name, attributes = _named(work, node)
    if node.op in CLIPS and isinstance(value, Pending) and work.only_read_by(node.inputs[0]):
        low, high = attributes.get("min", -INFINITE), attributes.get("max", INFINITE)
        work.give(node, value.behind(node.name, 0.0 if node.op == "Relu" else low, high))
        return
    work.give(node, stepped(work, node, value, Step(node.name, name, tuple(attributes.items()))))


def stepped(work: Work, node: NodeView, value: Value, step: Step) -> Value:
    """`value` through a function: noted down where it is one of integers, computed where it lies as floats."""
    if isinstance(value, Of):
        return Of(value.at, value.encoding, (*value.steps, step))
    at = work.floats(node, 1 if step.first else 0)
    inner = at.within
    source = work.graph.ready(at if inner is None else inner, node.name)
    made = work.graph.tensor(
        node.outputs[0] if inner is None else work.graph.spare(f"{node.outputs[0]}_within"), source.shape, source.axes
    )
    work.add_step(step, source, made)
    return Floats(made if inner is None else work.graph.reshaped(made, at.shape, node.name))


def _named(work: Work, node: NodeView) -> tuple[str, Mapping[str, float]]:
    """The function by the name that the records know, with its attributes."""
    if node.op == "Clip":
        return "Clip", _bounds(work, node)
    if node.op == "PRelu":
        return "LeakyRelu", {"alpha": _slope(work, node)}
    attributes = {key: float(value) for key, value in node.attrs.items() if isinstance(value, int | float)}
    name = "GeluTanh" if node.op == "Gelu" and node.attrs.get("approximate") == "tanh" else node.op
    if name not in FUNCTIONS:
        raise work.no(node, "no such function of single values is known here")
    return name, attributes


def _bounds(work: Work, node: NodeView) -> dict[str, float]:
    found: dict[str, float] = {}
    for port, key in ((1, "min"), (2, "max")):
        told = node.attrs.get(key)  # before opset 11
        bound = work.constant(node, port)
        if bound is not None and bound.size != 1:
            raise work.no(node, f"its bound `{node.inputs[port][:80]}` is no single number")
        if bound is not None:
            found[key] = float(bound.reshape(-1)[0])
        elif isinstance(told, int | float):
            found[key] = float(told)
    return found


def _slope(work: Work, node: NodeView) -> float:
    slope = work.value(node, 1)
    if not isinstance(slope, Const) or np.unique(slope.array).size != 1:
        raise work.no(node, "its slopes differ or are computed: only one slope has a kernel here")
    return float(slope.array.reshape(-1)[0])
