"""ModelProto to graphsurgeon: linear, nothing lost, bodies of If/Loop/Scan left as they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from qdsl.diag import Diagnostics, QdslError
from qdsl.graph.checks import bodies, check_names, check_nodes, check_shapes, check_sparse, check_tensor, named_ports
from qdsl.graph.constants import Constant, Lazy, Sparse, Stored
from qdsl.graph.dtypes import numpy_type, type_name
from qdsl.graph.external import external_value
from qdsl.graph.limits import Limits
from qdsl.graph.meta import STRIPPED_KEYS, meta_of

_INLINE_BODY_BYTES = 2**26


def import_graph(proto: ModelProto, opset: int, directory: Path | None, limits: Limits, diags: Diagnostics) -> gs.Graph:
    """The editable graph. What is wrong with the model is added to `diags`; then the graph must not be used."""
    graph = proto.graph
    check_names(graph, diags)
    check_nodes(graph.node, opset, diags)
    check_shapes([*graph.input, *graph.output, *graph.value_info], limits, diags)
    constants = _constants(graph, directory, limits, diags)
    for node in graph.node:
        _check_attributes(node.attribute, directory, limits, diags, depth=1)
    if diags.has_errors:
        return gs.Graph()
    tensors: dict[str, gs.Tensor] = {name: Constant(name, value) for name, value in constants.items()}
    for info in (*graph.input, *graph.output, *graph.value_info):
        _declare(info, tensors)
    nodes = [_node(node, tensors, opset) for node in graph.node]
    made = gs.Graph(
        nodes=nodes,
        inputs=[tensors[info.name] for info in graph.input if info.name not in constants],
        outputs=[tensors[info.name] for info in graph.output],
        name=graph.name,
        doc_string=graph.doc_string,
        opset=opset,
        import_domains=list(proto.opset_import),
        producer_name=proto.producer_name,
        producer_version=proto.producer_version,
        ir_version=proto.ir_version,
    )
    made.__dict__["qdsl_tensors"] = tensors
    return made


def _constants(graph: GraphProto, directory: Path | None, limits: Limits, diags: Diagnostics) -> dict[str, Lazy]:
    found: dict[str, Lazy] = {}
    for tensor in graph.initializer:
        if check_tensor(tensor, limits, diags):
            value = _value(tensor, directory, diags)
            found |= {} if value is None else {tensor.name: value}
    for sparse in graph.sparse_initializer:
        if check_sparse(sparse, limits, diags):
            found[sparse.values.name] = Sparse(sparse)
    return found


def _value(tensor: TensorProto, directory: Path | None, diags: Diagnostics) -> Lazy | None:
    if tensor.data_location != TensorProto.EXTERNAL:
        return Stored(tensor)
    try:
        return external_value(tensor, directory, diags.span)
    except QdslError as error:
        diags.extend(error.diagnostics)
        return None


def _check_attributes(
    attributes: Iterable[AttributeProto], directory: Path | None, limits: Limits, diags: Diagnostics, depth: int
) -> None:
    """Tensors in attributes and bodies; external ones are brought inside, since bodies are written back unread."""
    for attribute in attributes:
        own = [attribute.t] if attribute.type == AttributeProto.TENSOR else []
        for tensor in (*own, *attribute.tensors):
            _check_inline(tensor, directory, limits, diags)
        for body in bodies([attribute]):
            if depth > limits.body_depth:
                diags.error("model-too-large", f"bodies are nested deeper than {limits.body_depth}")
                return
            for tensor in body.initializer:
                _check_inline(tensor, directory, limits, diags)
            for node in body.node:
                _check_attributes(node.attribute, directory, limits, diags, depth + 1)


def _check_inline(tensor: TensorProto, directory: Path | None, limits: Limits, diags: Diagnostics) -> None:
    if not check_tensor(tensor, limits, diags) or tensor.data_location != TensorProto.EXTERNAL:
        return
    value = _value(tensor, directory, diags)
    if value is None:
        return
    if value.nbytes > _INLINE_BODY_BYTES:
        diags.error("model-external-size", f"external tensor `{tensor.name[:80]}` inside an attribute is too large")
        return
    tensor.raw_data = value.raw()
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _declare(info: ValueInfoProto, tensors: dict[str, gs.Tensor]) -> None:
    """A variable with the declared type; a later declaration only adds what an earlier one left open."""
    tensor = tensors.get(info.name)
    if isinstance(tensor, gs.Constant) or not info.name:
        return
    if tensor is None:
        tensor = tensors[info.name] = gs.Variable(info.name)
    set_type(tensor, info.type)


def set_type(variable: gs.Variable, declared: onnx.TypeProto) -> None:
    """Fill in element type and shape where the variable has none; a type that is not a dense tensor is kept whole, as
    `variable.type_proto`."""
    if declared.HasField("tensor_type"):
        dense = declared.tensor_type
        if variable.dtype is None and type_name(dense.elem_type) is not None:
            variable.dtype = numpy_type(dense.elem_type) or dense.elem_type
        if dense.HasField("shape"):
            variable.shape = merged_shape(variable.shape, shape_of(declared))
    elif declared.WhichOneof("value") is not None:
        variable.type = declared.WhichOneof("value")
        variable.type_proto = declared


def shape_of(declared: onnx.TypeProto) -> tuple[int | str | None, ...]:
    """Dims as int, symbol or None. Negative numbers and the symbols that shape inference invents are unknown."""
    dims: list[int | str | None] = []
    for dim in declared.tensor_type.shape.dim:
        if dim.HasField("dim_value"):
            dims.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            dims.append(dim.dim_param if dim.dim_param and not dim.dim_param.startswith("unk__") else None)
    return tuple(dims)


def merged_shape(
    known: tuple[int | str | None, ...] | list[int | str | None] | None, new: tuple[int | str | None, ...]
) -> tuple[int | str | None, ...]:
    """`known` with what `new` adds: a number over a symbol or None, a symbol over None. Another rank changes
    nothing."""
    if known is None:
        return new
    if len(known) != len(new):
        return tuple(known)
    return tuple(
        old if isinstance(old, int) or fresh is None or (isinstance(old, str) and isinstance(fresh, str)) else fresh
        for old, fresh in zip(known, new, strict=True)
    )


def _node(proto: NodeProto, tensors: dict[str, gs.Tensor], opset: int) -> gs.Node:
    inputs, outputs = named_ports(proto, opset)
    node = gs.Node(
        op=proto.op_type,
        name=proto.name,
        attrs=OrderedDict((attribute.name, attr_value(attribute)) for attribute in proto.attribute),
        inputs=[_tensor(name, tensors) for name in inputs],
        outputs=[_tensor(name, tensors) for name in outputs],
        domain="" if proto.domain == "ai.onnx" else proto.domain,
    )
    meta = meta_of(node)
    meta.doc_string, meta.overload = proto.doc_string, proto.overload
    meta.metadata = {prop.key: prop.value for prop in proto.metadata_props if prop.key not in STRIPPED_KEYS}
    meta.attr_types = {attribute.name: attribute.type for attribute in proto.attribute}
    for body in bodies(proto.attribute):
        _strip(body)
    meta.captured = tuple(name for name in captured_names(proto) if name in tensors)
    return node


def _strip(body: GraphProto) -> None:
    for node in body.node:
        kept = [prop for prop in node.metadata_props if prop.key not in STRIPPED_KEYS]
        if len(kept) < len(node.metadata_props):
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
        for inner in bodies(node.attribute):
            _strip(inner)


def _tensor(name: str, tensors: dict[str, gs.Tensor]) -> gs.Tensor:
    if not name:
        return gs.Variable.empty()
    found = tensors.get(name)
    if found is None:
        found = tensors[name] = gs.Variable(name)
    return found


def attr_value(attribute: AttributeProto) -> Any:
    """A Python value: numbers, text and lists of them as such, a tensor as a gs.Constant; the rest (bodies, types,
    bytes that are not text) stays an AttributeProto."""
    kind = attribute.type
    if attribute.ref_attr_name:
        return attribute
    if kind == AttributeProto.INT:
        return attribute.i
    if kind == AttributeProto.FLOAT:
        return attribute.f
    if kind == AttributeProto.INTS:
        return list(attribute.ints)
    if kind == AttributeProto.FLOATS:
        return list(attribute.floats)
    if kind == AttributeProto.TENSOR:
        return Constant(attribute.t.name or attribute.name, Stored(attribute.t))
    try:
        if kind == AttributeProto.STRING:
            return attribute.s.decode("utf-8")
        if kind == AttributeProto.STRINGS:
            return [text.decode("utf-8") for text in attribute.strings]
    except UnicodeDecodeError:
        return attribute
    return attribute


def captured_names(node: NodeProto) -> tuple[str, ...]:
    """Names that the bodies of a node read from outside, in order of first use. Nesting was bounded before."""
    found: dict[str, None] = {}
    for body in bodies(node.attribute):
        own = {t.name for t in body.initializer} | {t.values.name for t in body.sparse_initializer}
        own |= {info.name for info in body.input}
        for inner in body.node:
            reads = [*inner.input, *captured_names(inner)]
            found.update((name, None) for name in reads if name and name not in own)
            own.update(inner.output)
        found.update((info.name, None) for info in body.output if info.name and info.name not in own)
    return tuple(found)
