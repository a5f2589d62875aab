"""The same graph at opset 17, which ST's own tools quantize at, where the operators mean the same there."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, defs, helper, numpy_helper

WANTED = 17
_IR = 8  # that of opset 17
# Operators whose meaning changed between the opsets that can be restated while their attributes stayed.
_CHANGED = frozenset({"RoiAlign", "GridSample", "DFT"})
_REDUCES = frozenset({"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
                      "ReduceProd", "ReduceSumSquare"})  # fmt: skip
# Attributes that opset 17 does not have, with the value that means the same as none.
_NEUTRAL: dict[str, dict[str, object]] = {
    "QuantizeLinear": {"saturate": 1},
    "Cast": {"saturate": 1},
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"},
    **{op: {"noop_with_empty_axes": 0} for op in _REDUCES},
}
_SOFTMAXES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


class OpsetError(ValueError):
    """The graph says something that opset 17 does not."""


def restated(proto: ModelProto) -> ModelProto:
    """A copy of a model of opsets 13 to 20 that says the same at opset 17. Raises OpsetError with why not."""
    made = ModelProto()
    made.CopyFrom(proto)
    (current,) = (entry for entry in made.opset_import if entry.domain in ("", "ai.onnx"))
    if not 13 <= current.version <= 20:
        raise OpsetError(f"opset {current.version} is too far from {WANTED}")
    if current.version != WANTED:
        constants = {tensor.name: tensor for tensor in made.graph.initializer}
        for node in made.graph.node:
            if node.domain in ("", "ai.onnx"):
                _restate(node, current.version, constants)
        _drop_unread(made)
    current.version, made.ir_version = WANTED, _IR
    return made


def write_axes(proto: ModelProto) -> None:
    """Write the axis of each Softmax of a model of opset 13 or newer as a number from 0 on, in place, where shapes tell
    it: ST Edge AI Core reads no -1, and takes 1 where none is written."""
    ranks = _ranks(proto)
    for node in proto.graph.node:
        rank = ranks.get(node.input[0]) if node.op_type in _SOFTMAXES and node.domain in ("", "ai.onnx") else None
        if rank is not None:
            found = next((each for each in node.attribute if each.name == "axis"), None)
            axis = found.i if found is not None else -1
            if found is not None:
                node.attribute.remove(found)
            node.attribute.append(helper.make_attribute("axis", axis % rank))


def _ranks(proto: ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape") and value.type.tensor_type.shape.dim
    }


def _restate(node: NodeProto, version: int, constants: Mapping[str, onnx.TensorProto]) -> None:
    try:
        before, after = defs.get_schema(node.op_type, version), defs.get_schema(node.op_type, WANTED)
    except defs.SchemaError:
        raise OpsetError(f"opset {WANTED} has no {node.op_type[:80]}") from None
    if before.since_version == after.since_version:
        return
    if node.op_type in _CHANGED:
        raise OpsetError(f"{node.op_type} means something else at opset {WANTED}")
    if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in node.attribute):
        raise OpsetError(f"{node.op_type} has a body")
    if node.op_type in _REDUCES:
        _axes_as_attribute(node, constants)
    if node.op_type == "Split" and len(node.input) < 2:  # only from 18 on into a smaller last part, too
        raise OpsetError(f"a Split without lengths may mean something else at opset {WANTED}")
    for name, value in _NEUTRAL.get(node.op_type, {}).items():
        _without(node, name, value)
    odd = next((each.name for each in node.attribute if each.name not in after.attributes), "")
    if odd or not after.min_input <= len(node.input) <= after.max_input or len(node.output) > after.max_output:
        raise OpsetError(f"opset {WANTED} has no {node.op_type} with {f'`{odd[:80]}`' if odd else 'such inputs'}")


def _without(node: NodeProto, name: str, value: object) -> None:
    """Take away an attribute where it says `value`."""
    found = next((each for each in node.attribute if each.name == name), None)
    if found is not None and helper.get_attribute_value(found) == value:
        node.attribute.remove(found)


def _axes_as_attribute(node: NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    if len(node.input) < 2 or not node.input[1]:
        return
    axes = constants.get(node.input[1])
    if axes is None:
        raise OpsetError(f"the axes of {node.op_type} are computed")
    found = numpy_helper.to_array(axes).reshape(-1).tolist()
    if found:
        node.attribute.append(helper.make_attribute("axes", found))
    del node.input[1:]


def _drop_unread(proto: ModelProto) -> None:
    """Take away constants that nobody reads any more."""
    read = {name for node in proto.graph.node for name in node.input} | {value.name for value in proto.graph.output}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    if len(kept) < len(proto.graph.initializer):
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)
