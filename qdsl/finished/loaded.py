"""What a runtime makes of a file when it loads it: constants computed, nodes that do nothing taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph import Model
from qdsl.graph.constants import lazy_of
from qdsl.graph.folded import folded
from qdsl.graph.view import GraphView, NodeView, TensorView

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_CONSTANT = "Constant"
_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
_MEASURED = frozenset({"Shape", "Size"})
_PLAIN = ("value_float", "value_int", "value_floats", "value_ints")
_SMALL_ELEMENTS = 64
_COPIES = frozenset({"Identity", "Dropout"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """By name: `nodes` that are computed when the file is loaded, `tensors` that these write, and `copies`, nodes that
    hand on what they read."""

    nodes: frozenset[str]
    tensors: frozenset[str]
    copies: frozenset[str]


def loaded(view: GraphView) -> Loaded:
    """Linear in the size of the graph. A DequantizeLinear is not computed, so that kernels find the integers."""
    nodes: set[str] = set()
    tensors: set[str] = set()
    copies: set[str] = set()
    for node in view.nodes:
        if _computed(view, node, tensors):
            nodes.add(node.name)
            tensors.update(filter(None, node.outputs))
        elif _copies(view, node):
            copies.add(node.name)
    return Loaded(frozenset(nodes), frozenset(tensors), frozenset(copies))


def _computed(view: GraphView, node: NodeView, found: set[str]) -> bool:
    if node.op == DEQUANTIZE or node.op.startswith(_RANDOM) or node.bodies or not _plain(node):
        return False
    if any(view.tensors[name].is_output for name in node.outputs if name):
        return False
    if node.op == _CONSTANT:
        return True
    read = [name for name in node.inputs if name]
    if node.op in _MEASURED and _fixed_shape(view, read[:1]):
        return True
    return bool(read) and all(name in found or view.is_constant(name) for name in read)


def _plain(node: NodeView) -> bool:
    return node.domain in ("", "ai.onnx", "com.microsoft")


def _fixed_shape(view: GraphView, names: Iterable[str]) -> bool:
    shapes = [view.tensors[name].shape for name in names]
    return all(shape is not None and all(isinstance(dim, int) for dim in shape) for shape in shapes)


def _copies(view: GraphView, node: NodeView) -> bool:
    """An Identity, or a Dropout whose mask nobody reads, between two tensors of the graph."""
    if node.op not in _COPIES or not _plain(node) or not node.outputs:
        return False
    mask = node.outputs[1] if len(node.outputs) > 1 else ""
    if mask and (view.tensors[mask].uses or view.tensors[mask].is_output):
        return False
    return not view.tensors[node.outputs[0]].is_output


def small_values(
    model: Model, names: Iterable[str], tensors: Mapping[str, TensorView]
) -> dict[str, tuple[int | float | bool, ...]]:
    """The values of few elements among computed tensors, flattened, as `GraphView.small` has those that are stored."""
    found = {}
    for name in names:
        elements = tensors[name].elements
        value = _value(model, name) if elements is not None and elements <= _SMALL_ELEMENTS else None
        if value is not None and value.dtype.kind in "biuf":
            found[name] = tuple(value.reshape(-1).tolist())
    return found


def _value(model: Model, name: str) -> np.ndarray[Any, Any] | None:
    tensor = model.tensor(name)
    node = tensor.inputs[0] if tensor is not None and len(tensor.inputs) == 1 else None
    if node is None or node.op != _CONSTANT:
        return folded(model, name)
    given = node.attrs.get("value")
    if isinstance(given, gs.Constant):
        return lazy_of(given).load()
    plain = next((node.attrs[key] for key in _PLAIN if key in node.attrs), None)
    return None if plain is None else np.asarray(plain)
