"""Shape inference on the graph without its weights, so that size does not matter; failing is a warning.

Where ONNX has no rule for the types of an operator, a table of rules is asked, then the runtime, and what follows is
inferred from that."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto

from qdsl.diag import Severity
from qdsl.graph.body_types import BodyTypes, types_of
from qdsl.graph.constants import Lazy, to_proto
from qdsl.graph.exporter import export_model, typed
from qdsl.graph.importer import set_type
from qdsl.graph.meta import meta_of
from qdsl.graph.propagation import joints_known, may_propagate
from qdsl.graph.runtime_types import runtime_types
from qdsl.graph.type_rules import rule_types

# Values up to this size can be shapes, axes or sizes that inference reads; larger ones count by their shape alone.
_SMALL_BYTES = 1024


def skeleton(model: Any) -> ModelProto:
    """The model with every large constant as a graph input of the same name, type and shape."""
    proto = export_model(model, _small)
    graph = proto.graph
    large = [tensor for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    small = [tensor for tensor in graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    for tensor in large:
        graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del graph.initializer[:]
    graph.initializer.extend(small)
    return proto


def _small(name: str, value: Lazy) -> TensorProto:
    if value.nbytes <= _SMALL_BYTES:
        return to_proto(name, value)
    return TensorProto(name=name, data_type=value.element_type, dims=value.shape, data_location=TensorProto.EXTERNAL)


def infer(model: Any) -> None:
    """Fill in element types and shapes of what nodes write, in bodies, too. What was known stays; where inference
    contradicts the model, or fails, the rest is inferred all the same and the model gets a warning."""
    told = list(model.diagnostics)
    _infer(model)
    for ask in (rule_types, runtime_types):
        untyped = [t.name for node in model.nodes() for t in node.outputs if t.name and not typed(t)]
        found = ask(skeleton(model), untyped) if untyped else {}
        for name, kind in found.items():
            set_type(model.tensor(name), kind)
        if found:
            model.diagnostics[:] = told  # what failed for want of these types may not fail now
            _infer(model)


def _infer(model: Any) -> None:
    proto = skeleton(model)
    inferred = proto
    for carried in (True,) if joints_known(proto) else (False, True):
        if not carried or may_propagate(inferred, (constant.name for constant in model.constants())):
            inferred = _inferred(model, proto, carried)
    inside: dict[str, dict[str, BodyTypes]] = {}
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        tensor = model.tensor(info.name)
        if isinstance(tensor, gs.Variable):
            set_type(tensor, info.type)
    for node in inferred.graph.node:
        inner = types_of(node)
        if inner:
            inside[node.name] = inner
    for node in model.nodes():
        meta_of(node).body_types = inside.get(node.name, {})


def _inferred(model: Any, proto: ModelProto, carried: bool) -> ModelProto:
    """What inference says of the model, `carried`: with values that may be shapes. The model itself where it fails."""
    try:
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=carried)
    except Exception as error:  # the C++ side throws several unrelated types
        _warn(model, error)
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=carried)
    except Exception:
        return proto


def _warn(model: Any, error: Exception) -> None:
    text = " ".join((str(error).strip() or type(error).__name__).split())[:200]
    headline = f"not every shape could be inferred: {text}"
    if not any(diagnostic.code == "model-shapes" for diagnostic in model.diagnostics):
        model.diagnostics.append(model.diagnostic("model-shapes", headline, severity=Severity.WARNING))
