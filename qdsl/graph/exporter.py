"""graphsurgeon to ModelProto: the side tables put back, versions set, low-bit constants packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from qdsl.graph.checks import NEWEST_IR
from qdsl.graph.constants import Lazy, Sparse, lazy_of, to_proto
from qdsl.graph.dtypes import number_of
from qdsl.graph.meta import meta_of

# First IR version of each opset's release (onnx.helper.VERSION_TABLE); 4 is the first in which an initializer need not
# be a graph input, and we never list it as one.
_IR_OF_OPSET = ((10, 5), (11, 6), (12, 7), (15, 8), (19, 9), (21, 10), (23, 11), (24, 12), (25, 13))
Writer = Callable[[str, Lazy], TensorProto]


def ir_for(opset: int, wanted: int) -> int:
    """The IR version to write: the model's own where it fits the opset, never beyond what ONNX Runtime takes."""
    needed = max([4, *(ir for first, ir in _IR_OF_OPSET if opset >= first)])
    return min(max(needed, wanted), NEWEST_IR)


def export_model(model: Any, write: Writer = to_proto) -> ModelProto:
    """The whole model; `write` decides how each constant is stored."""
    graph = model.graph
    proto = ModelProto()
    proto.CopyFrom(model.shell)
    proto.ir_version = ir_for(model.opset, model.shell.ir_version)
    for domain, version in _domains(model).items():
        proto.opset_import.add(domain=domain, version=version)
    proto.graph.CopyFrom(model.graph_shell)
    proto.graph.name = graph.name or "graph"
    kept = [a for a in model.graph_shell.quantization_annotation if model.tensor(a.tensor_name) is not None]
    del proto.graph.quantization_annotation[:]
    proto.graph.quantization_annotation.extend(kept)
    _fill(proto.graph, model, write)
    return proto


def _fill(into: GraphProto, model: Any, write: Writer) -> None:
    graph = model.graph
    into.node.extend(node_proto(node) for node in model.nodes())
    declared = {id(tensor) for tensor in (*graph.inputs, *graph.outputs)}
    into.input.extend(value_info(tensor, model.value_meta) for tensor in graph.inputs)
    into.output.extend(value_info(tensor, model.value_meta) for tensor in graph.outputs)
    for constant in used_constants(model):
        value = lazy_of(constant)
        if isinstance(value, Sparse):
            into.sparse_initializer.append(value.tensor)
            into.sparse_initializer[-1].values.name = constant.name
        else:
            into.initializer.append(write(constant.name, value))
    written = (
        tensor for node in model.nodes() for tensor in node.outputs if tensor.name and id(tensor) not in declared
    )
    into.value_info.extend(value_info(tensor, model.value_meta) for tensor in written if typed(tensor))


def typed(tensor: gs.Variable) -> bool:
    """Whether anything is known of its type."""
    return tensor.dtype is not None or getattr(tensor, "type_proto", None) is not None


def used_constants(model: Any) -> Iterator[gs.Constant]:
    """Every constant that a node, a body or an output reads, once, in order of first use."""
    seen: set[int] = set()
    for tensor in _read(model):
        if isinstance(tensor, gs.Constant) and id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def _read(model: Any) -> Iterator[gs.Tensor | None]:
    for node in model.nodes():
        yield from node.inputs
        for name in meta_of(node).captured:
            yield model.tensor(name)
    yield from model.graph.outputs
    for name in sorted(model.pinned):
        yield model.tensor(name)


def _domains(model: Any) -> dict[str, int]:
    """ai.onnx first, then the model's own in their order, then those that new nodes brought, by name."""
    had = {entry.domain: entry.version for entry in model.graph.import_domains if entry.domain not in ("", "ai.onnx")}
    used = {node.domain or "" for node in model.nodes()} - {""} - set(had)
    return {"": model.opset, **had, **dict.fromkeys(sorted(used), 1)}


def node_proto(node: gs.Node) -> NodeProto:
    """One node with its attributes and its side table."""
    meta = meta_of(node)
    proto = NodeProto(
        op_type=node.op,
        name=node.name,
        input=[tensor.name for tensor in node.inputs],
        output=[tensor.name for tensor in node.outputs],
    )
    if node.attrs:
        proto.attribute.extend(_attribute(name, value, meta.attr_types.get(name)) for name, value in node.attrs.items())
    if node.domain:
        proto.domain = node.domain
    if meta.doc_string:
        proto.doc_string = meta.doc_string
    if meta.overload:
        proto.overload = meta.overload
    for key, value in meta.metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def _attribute(name: str, value: Any, kind: int | None) -> AttributeProto:
    if isinstance(value, AttributeProto):
        return value
    if isinstance(value, gs.Constant):
        tensor = to_proto(value.name, lazy_of(value))
        return AttributeProto(name=name, type=AttributeProto.TENSOR, t=tensor)
    if kind == AttributeProto.INTS:
        return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)
    if kind == AttributeProto.FLOATS:
        return AttributeProto(name=name, type=AttributeProto.FLOATS, floats=value)
    if kind == AttributeProto.STRINGS:
        return AttributeProto(name=name, type=AttributeProto.STRINGS, strings=[text.encode() for text in value])
    return onnx.helper.make_attribute(name, value)


def value_info(tensor: gs.Tensor, extras: dict[str, ValueInfoProto]) -> ValueInfoProto:
    """Name, type, and the documentation and metadata that a graph input or output came with."""
    info = ValueInfoProto(name=tensor.name)
    whole = getattr(tensor, "type_proto", None)
    if whole is not None:
        info.type.CopyFrom(whole)
    elif tensor.dtype is not None:
        info.type.tensor_type.elem_type = number_of(tensor.dtype)
        if tensor.shape is not None:
            _put_shape(info.type.tensor_type.shape, tensor.shape)
    extra = extras.get(tensor.name)
    if extra is not None:
        info.doc_string = extra.doc_string
        info.metadata_props.extend(extra.metadata_props)
    return info


def _put_shape(into: onnx.TensorShapeProto, shape: tuple[int | str | None, ...]) -> None:
    into.SetInParent()
    for dim in shape:
        made = into.dim.add()
        if isinstance(dim, str):
            made.dim_param = dim
        elif dim is not None:
            made.dim_value = dim
