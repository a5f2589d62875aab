"""The tensors that hold the integers of a pair."""

from __future__ import annotations

from collections.abc import Container, Iterable

import onnx_graphsurgeon as gs

from qdsl.graph import Model
from qdsl.graph.moves import FROM_ONE


def integers(model: Model, starts: Iterable[gs.Node], members: Container[str]) -> list[gs.Variable] | None:
    """What `starts` write and mere moves carry on to the nodes called `members`; None where it reaches something else
    that reads integers, or leaves the graph."""
    found: dict[int, gs.Variable] = {}
    open_tensors = [tensor for node in starts for tensor in node.outputs[:1]]
    while open_tensors:
        tensor = open_tensors.pop()
        if model.is_output(tensor) or model.captured(tensor):
            return None
        found[id(tensor)] = tensor
        for reader in tensor.outputs:
            if reader.name in members:
                continue
            if reader.op not in FROM_ONE or reader.domain or reader.inputs[0] is not tensor:
                return None
            open_tensors += [each for each in reader.outputs if id(each) not in found]
    return list(found.values())
