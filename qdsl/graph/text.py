"""That every name in a model is text: protobuf hands over bytes where a string is not UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, StringStringEntryProto, ValueInfoProto

from qdsl.diag import Span
from qdsl.graph.checks import bodies
from qdsl.graph.problems import problem


def check_text(model: ModelProto, span: Span | None = None) -> None:
    """Raises `model-unreadable` when a name or a note anywhere in the model is not UTF-8."""
    try:
        "".join(_strings(model))
    except (TypeError, UnicodeDecodeError):
        headline = "the model holds names that are not UTF-8 text"
        raise problem(span, "model-unreadable", headline, "the file is damaged; export it again") from None


def _strings(model: ModelProto) -> Iterator[str]:
    yield from (model.producer_name, model.producer_version, model.domain, model.doc_string)
    yield from (entry.domain for entry in model.opset_import)
    yield from _pairs(model.metadata_props)
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from (function.name, function.domain, function.overload, *function.input, *function.output)
        yield from (entry.domain for entry in function.opset_import)
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[str]:
    yield from (graph.name, graph.doc_string)
    yield from _pairs(graph.metadata_props)
    for info in (*graph.input, *graph.output, *graph.value_info):
        yield from _of_value(info)
    for tensor in (*graph.initializer, *(part for s in graph.sparse_initializer for part in (s.values, s.indices))):
        yield tensor.name
        yield from _pairs(tensor.external_data)
    for annotation in graph.quantization_annotation:
        yield annotation.tensor_name
        yield from _pairs(annotation.quant_parameter_tensor_names)
    yield from _of_nodes(graph.node)


def _of_value(info: ValueInfoProto) -> Iterator[str]:
    yield from (info.name, info.doc_string)
    yield from _pairs(info.metadata_props)
    yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from (node.op_type, node.name, node.domain, node.overload, node.doc_string, *node.input, *node.output)
        yield from _pairs(node.metadata_props)
        for attribute in node.attribute:
            yield attribute.name
            if attribute.HasField("t"):
                yield attribute.t.name
                yield from _pairs(attribute.t.external_data)
            for body in bodies([attribute]):
                yield from _of_graph(body)


def _pairs(entries: Iterable[StringStringEntryProto]) -> Iterator[str]:
    for entry in entries:
        yield entry.key
        yield entry.value
