"""Whether shape inference may carry values along, in case they are shapes.

It keeps 70 bytes for each element of each vector that is joined by a Concat over axis 0, whatever it holds: joints of
joints, or one of a vector made by ConstantOfShape, take any amount of memory. No shape is so long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, ModelProto, NodeProto

_MOST_ELEMENTS = 2**20
_SHAPE_READERS = ("Shape", "Size")
_Shape = tuple[int | None, ...]


def joints_known(proto: ModelProto) -> bool:
    """Whether the shape of all that a Concat joins over axis 0 is said in the model."""
    shapes = _shapes(proto)
    return all(name in shapes for node in _joints(proto) for name in node.input)


def may_propagate(proto: ModelProto, constants: Iterable[str]) -> bool:
    """Whether carrying values takes bounded memory, by the shapes that `proto` says; `constants` are the tensors that
    hold a stored value. Where a shape is open although it depends on those alone, values would close it, and nobody
    knows how large it is: not before it is folded."""
    shapes, fixed = _shapes(proto), _fixed(proto, constants)
    elements = 0
    for node in _joints(proto):
        for name in node.input:
            shape = shapes.get(name)
            if shape is not None and len(shape) != 1:
                continue
            length = None if shape is None else shape[0]
            if length is None and name in fixed:
                return False
            elements += length or 0
    return elements <= _MOST_ELEMENTS


def _joints(proto: ModelProto) -> Iterator[NodeProto]:
    for node in proto.graph.node:
        if node.op_type == "Concat" and not any(one.name == "axis" and one.i for one in node.attribute):
            yield node


def _shapes(proto: ModelProto) -> dict[str, _Shape]:
    """Shapes of known rank, None for a dim that is open."""
    found: dict[str, _Shape] = {one.name: tuple(one.dims) for one in proto.graph.initializer}
    for info in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        if info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            found[info.name] = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    return found


def _fixed(proto: ModelProto, constants: Iterable[str]) -> set[str]:
    """Tensors whose values no run changes: of constants, and of shapes."""
    found = {*constants, ""}
    for node in proto.graph.node:
        bodies = any(one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for one in node.attribute)
        if node.op_type in _SHAPE_READERS or (found.issuperset(node.input) and not bodies):
            found.update(node.output)
    return found
