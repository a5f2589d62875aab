"""What a node bounds its values to: Clip in both its forms, Relu, Max and Min with a constant."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of


def bounds(node: gs.Node) -> tuple[float, float] | None:
    """What a Clip, Relu, Max or Min with constants bounds its first non-constant input to; None when unknown."""
    if node.op == "Relu":
        return 0.0, np.inf
    if node.op == "Clip":
        ends = [_end(node, 1, "min", -np.inf), _end(node, 2, "max", np.inf)]
        return None if None in ends else (float(ends[0] or 0.0), float(ends[1] or 0.0))
    pair = data_and_bound(node)
    if pair is None:
        return None
    return (pair[1], np.inf) if node.op == "Max" else (-np.inf, pair[1])


def _end(node: gs.Node, port: int, attribute: str, default: float) -> float | None:
    """One bound of a Clip; the largest numbers of its type count as no bound."""
    if attribute in node.attrs:
        return _opened(float(node.attrs[attribute]), float(np.finfo(np.float32).max))
    tensor = node.inputs[port] if len(node.inputs) > port else None
    if tensor is None or not tensor.name:
        return default
    return _scalar(tensor)


def _scalar(tensor: gs.Tensor) -> float | None:
    if not isinstance(tensor, gs.Constant) or lazy_of(tensor).shape not in ((), (1,)):
        return None
    value = lazy_of(tensor).load()
    if value.dtype.kind != "f":
        return None
    number = float(value.reshape(()))
    return None if np.isnan(number) else _opened(number, float(np.finfo(value.dtype).max))


def _opened(value: float, largest: float) -> float:
    return float(np.copysign(np.inf, value)) if abs(value) >= largest else value


def data_and_bound(node: gs.Node) -> tuple[gs.Tensor, float] | None:
    """The data and the constant of a two-input Max or Min that cannot change the data's shape."""
    if node.op not in ("Max", "Min") or len(node.inputs) != 2:
        return None
    for data, other in (node.inputs, node.inputs[::-1]):
        value = _scalar(other)
        if value is None or isinstance(data, gs.Constant):
            continue
        rank = 0 if data.shape is None else len(data.shape)
        if rank >= len(lazy_of(other).shape):
            return data, value
    return None
