"""Names by which the text of an engine tells the nodes of a file apart."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, ModelProto

from qdsl.engines.rtx.layers import AMBIGUOUS_NODE, AMBIGUOUS_TENSOR
from qdsl.graph.checks import bodies
from qdsl.graph.naming import fresh, name_protos


def with_names(model: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """A copy in which every node has a name of its own, the one under which the graph knows it; a name that the text of
    an engine could not hold, or that a node of a body has, is another one there. With what each is called in the
    graph."""
    made = ModelProto()
    made.CopyFrom(model)
    name_protos(made.graph.node)
    known = {node.name: node.name for node in made.graph.node}
    inside = {node.name for body in _bodies(made.graph) for node in body.node}
    taken = {*known, *inside}
    for number, node in enumerate(made.graph.node):
        if AMBIGUOUS_NODE.search(node.name) or node.name in inside:
            given = known.pop(node.name)
            node.name = fresh(f"node_{number}", taken)
            taken.add(node.name)
            known[node.name] = given
    return made, known


def is_ambiguous(model: ModelProto) -> bool:
    """Whether names of tensors, or of nodes inside bodies, would make the text of an engine read otherwise than it
    is."""
    graph = model.graph
    if any(AMBIGUOUS_TENSOR.search(name) for name in _tensors(graph)):
        return True
    for body in _bodies(graph):
        if any(AMBIGUOUS_TENSOR.search(name) for name in _tensors(body)):
            return True
        if any(AMBIGUOUS_NODE.search(node.name) for node in body.node):
            return True
    return False


def _bodies(graph: GraphProto) -> Iterator[GraphProto]:
    """What stands in nodes of `graph`, in those of what stands there, and so on."""
    waiting = [body for node in graph.node for body in bodies(node.attribute)]
    while waiting:
        body = waiting.pop()
        yield body
        waiting += [inner for node in body.node for inner in bodies(node.attribute)]


def _tensors(graph: GraphProto) -> Iterator[str]:
    yield from (each.name for each in (*graph.input, *graph.output, *graph.initializer))
    yield from (name for node in graph.node for name in node.output)
