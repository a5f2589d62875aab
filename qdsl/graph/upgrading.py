"""A newer opset through ONNX's own version converter, weights left where they are."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_graphsurgeon as gs
from onnx import ModelProto

from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.graph.constants import Constant
from qdsl.graph.importer import import_graph
from qdsl.graph.infer import skeleton
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.naming import name_nodes


def upgrade_opset(model: Model, opset: int) -> Model:
    """The same model at `opset` (ai.onnx), as a new Model; the model itself when it is there already.

    The converter sees the graph without large weights, which its adapters never read. Node names, metadata and lazy
    constants are carried over. Raises `model-upgrade` when it cannot convert an operator, or when an output of the
    result no longer has the type and rank it had.
    """
    if opset <= model.opset:
        return model
    unknown = next((n.op for n in model.nodes() if not n.domain and not onnx.defs.has(n.op)), None)
    if unknown is not None:
        raise _failed(model, opset, f"operator `{unknown[:80]}` is not one of ONNX")
    try:
        converted = onnx.version_converter.convert_version(skeleton(model), opset)
    except Exception as error:  # the C++ side throws several unrelated types
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _failed(model, opset, text.rpartition("` failed: ")[2][:200]) from None  # without the place in its source
    made = _rebuilt(model, converted, opset)
    for old, new in zip(model.graph.outputs, made.graph.outputs, strict=True):
        if not _agrees(old, new):
            raise _failed(model, opset, f"output `{old.name[:80]}` would change its type or shape")
    return made


def _failed(model: Model, opset: int, why: str) -> QdslError:
    headline = f"`{model.name}` uses opset {model.opset} and cannot be raised to {opset}: {why}"
    return model.error("model-upgrade", headline, help=[f"export it again with opset {opset}"])


def _rebuilt(model: Model, converted: ModelProto, opset: int) -> Model:
    """A Model from the converter's graph: constants that were hidden from it come back, and so do the side tables."""
    hidden = {info.name for info in converted.graph.input} - {tensor.name for tensor in model.graph.inputs}
    inputs = [info for info in converted.graph.input if info.name not in hidden]
    diags = Diagnostics()
    graph = import_graph(converted, opset, None, model.limits, diags)
    if diags.has_errors:
        raise _failed(model, opset, _first(diags))
    tensors: dict[str, gs.Tensor] = graph.__dict__.pop("qdsl_tensors")
    graph.inputs[:] = [tensors[info.name] for info in inputs]
    for name in sorted(hidden):
        tensors[name] = _constant_for(tensors[name], model)
    graph.outputs[:] = [tensors[tensor.name] for tensor in graph.outputs]
    name_nodes(graph.nodes)
    before = {node.name: node for node in model.nodes()}
    for node in graph.nodes:
        old = before.get(node.name)
        if old is not None and old.op == node.op:
            kept = meta_of(old)
            meta_of(node).metadata, meta_of(node).doc_string = dict(kept.metadata), kept.doc_string
    graph.name, graph.import_domains = model.graph.name, converted.opset_import
    side = model.shell, model.graph_shell, model.value_meta, model.path, model.limits, model.diagnostics, model.span
    made = Model(graph, tensors, *side)
    made.sort()
    made.infer()
    return made


def _first(diags: Diagnostics) -> str:
    found: Diagnostic = next(iter(diags))
    return found.headline


def _constant_for(stand_in: gs.Tensor, model: Model) -> gs.Constant:
    constant = Constant(stand_in.name, model.lazy(stand_in.name))
    for node in {id(node): node for node in stand_in.outputs}.values():
        for port, tensor in enumerate(node.inputs):
            if tensor is stand_in:
                list.__setitem__(node.inputs, port, constant)
                list.append(constant.outputs, node)
    return constant


def _agrees(old: gs.Tensor, new: gs.Tensor) -> bool:
    if old.shape is None or new.shape is None:
        return True
    if len(old.shape) != len(new.shape):
        return False
    return all(a == b for a, b in zip(old.shape, new.shape, strict=True) if isinstance(a, int) and isinstance(b, int))
