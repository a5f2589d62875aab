"""Nodes whose integer product another node makes, too: the builder computes it once, under the name of one of them.

Two products of the same two tensors are such; and two convolutions of one tensor by the same integers, whatever their
scales: weights of one value per channel, scaled per channel, are all 127 or -127. The layers that bias and activate
name both, so the other one would read as if it multiplied floats there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, TensorProto

from qdsl.engines.rtx.layers import Layer
from qdsl.engines.rtx.verdicts import GENERATED, MULTIPLYING
from qdsl.spec.engine import INT8, EngineVerdict

_DEQUANTIZE = "DequantizeLinear"
_Key = tuple[object, ...]


def with_twins(
    model: ModelProto, found: Mapping[str, EngineVerdict], told: Sequence[Layer]
) -> dict[str, EngineVerdict]:
    """The verdicts `found`, by node, in which a node that stands in generated layers alone, or in none, has that of its
    INT8 twin. Linear in the size of the graph and of the layers."""
    named = {node for layer in told if layer.kind != GENERATED for node in layer.nodes}
    alike = _alike(model)
    made: dict[_Key, str] = {}
    for name, verdict in found.items():
        if verdict.verdict == INT8 and name in alike:
            made.setdefault(alike[name], name)
    judged = dict(found)
    for name in found.keys() & alike.keys() - named:
        twin = made.get(alike[name])
        if twin is not None:
            because = f"its product is that of {twin}, computed once"
            judged[name] = EngineVerdict(INT8, found[twin].layer, because)
    return judged


def _alike(model: ModelProto) -> dict[str, _Key]:
    """What two nodes that multiply have in common where their integer product is the same, by node."""
    writers = {name: node for node in model.graph.node for name in node.output if name}
    constants = {each.name: each for each in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type in MULTIPLYING and len(node.input) > 1:
            other = _integers(node.input[1], writers, constants) or (node.input[1],)
            attributes = tuple(sorted(each.SerializeToString() for each in node.attribute))
            found[node.name] = (node.op_type, attributes, node.input[0], *other)
    return found


def _integers(name: str, writers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto]) -> _Key | None:
    """Type, shape and bytes of the constant that `name` dequantizes; None where it does not, or they lie elsewhere."""
    dequantizer = writers.get(name)
    if dequantizer is None or dequantizer.op_type != _DEQUANTIZE:
        return None
    stored = constants.get(dequantizer.input[0])
    if stored is None or not stored.raw_data:
        return None
    return (stored.data_type, tuple(stored.dims), stored.raw_data)
