"""Models in float16 and bfloat16, read as float32: integers come from float32 values, and the runtime's CPU kernels of
float16 are casts to float32 and back anyway.

A model is one where a Conv, MatMul or the like has weights of 16 bits. Everything of that type in it becomes float32,
what goes in and out included; values stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper

from qdsl.diag import Diagnostic, Diagnostics, Span
from qdsl.graph.checks import bodies, check_tensor
from qdsl.graph.constants import External, Lazy, Widened
from qdsl.graph.limits import Limits
from qdsl.graph.problems import note

_HALVES = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
# Attributes that name an element type.
_TYPES = frozenset({"to", "dtype", "output_dtype", "stash_type"})


def widen(proto: ModelProto, name: str, limits: Limits, span: Span | None = None) -> tuple[Diagnostic, ...]:
    """Make a model of 16 bit floats one of float32, in place, but for external values (see `widened`), and say so;
    nothing where it is none. `name` is the file's. A tensor whose data is not what its type and shape say stays as it
    is, for the checks of loading to refuse."""
    kinds = _weight_types(proto.graph)
    if not kinds:
        return ()
    ports = [what for what in ("input", "output") if any(_halves(info.type) for info in getattr(proto.graph, what))]
    for graph in _graphs(proto.graph):
        for info in (*graph.input, *graph.output, *graph.value_info):
            _widen_type(info.type)
        for tensor in graph.initializer:
            _widen_tensor(tensor, limits)
        for node in graph.node:
            for attribute in node.attribute:
                _widen_attribute(attribute, limits)
    listed = " and ".join(sorted(kinds))
    told = f"{name} is a {listed} model: it is read as float32"
    told += f", its {' and '.join(f'{what}s' for what in ports)} of that type, too" if ports else ""
    return (note(span, "model-float16", told),)


def widened(value: Lazy) -> Lazy:
    """An external value of 16 bits as float32; any other as it is."""
    return Widened(value) if isinstance(value, External) and value.element_type in _HALVES else value


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    waiting = [graph]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += [body for node in here.node for body in bodies(node.attribute)]


def _weight_types(graph: GraphProto) -> set[str]:
    """The 16 bit float types of constants that weighted nodes read."""
    found: set[str] = set()
    for here in _graphs(graph):
        held = {tensor.name: tensor.data_type for tensor in here.initializer}
        for node in here.node:
            if node.op_type == "Constant":
                held.update((node.output[0], a.t.data_type) for a in node.attribute if a.name == "value")
        read = {name for node in here.node if _is_weighted(node) for name in node.input}
        found.update(_HALVES[held[name]] for name in read if held.get(name) in _HALVES)
    return found


def _is_weighted(node: NodeProto) -> bool:
    return node.op_type in _WEIGHTED and node.domain in ("", "ai.onnx")


def _widen_type(declared: TypeProto) -> None:
    for inner in _halves(declared):
        inner.elem_type = TensorProto.FLOAT


def _halves(declared: TypeProto) -> list[TypeProto.Tensor]:
    """The tensor type within a type, where it is one of 16 bit floats."""
    inner = declared
    while (kind := inner.WhichOneof("value")) in ("sequence_type", "optional_type"):
        inner = getattr(inner, kind).elem_type
    return [inner.tensor_type] if kind == "tensor_type" and inner.tensor_type.elem_type in _HALVES else []


def _widen_tensor(tensor: TensorProto, limits: Limits) -> None:
    if tensor.data_type not in _HALVES or tensor.data_location == TensorProto.EXTERNAL:
        return
    if not check_tensor(tensor, limits, Diagnostics()):
        return
    values = np.asarray(numpy_helper.to_array(tensor), np.float32)
    made = numpy_helper.from_array(values, tensor.name)
    made.doc_string = tensor.doc_string
    tensor.CopyFrom(made)


def _widen_attribute(attribute: AttributeProto, limits: Limits) -> None:
    if attribute.name in _TYPES and attribute.type == AttributeProto.INT and attribute.i in _HALVES:
        attribute.i = TensorProto.FLOAT
    if attribute.type == AttributeProto.TENSOR:
        _widen_tensor(attribute.t, limits)
    if attribute.type == AttributeProto.TYPE_PROTO:
        _widen_type(attribute.tp)
    for tensor in attribute.tensors:
        _widen_tensor(tensor, limits)
