"""One node as the executor sees it: names, plain attributes, and nothing of graphsurgeon or torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of


@dataclass(frozen=True, slots=True)
class Operation:
    """A node. `inputs` and `outputs` are names of tensors, "" where there is none. `attributes` are Python numbers,
    text, lists of them, and numpy arrays; what is none of these stays as it came. `opset` is the version of
    ai.onnx."""

    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def reads(self, port: int) -> bool:
        """Whether something stands at an input port."""
        return port < len(self.inputs) and self.inputs[port] != ""

    def writes(self, port: int) -> bool:
        """Whether an output port is used."""
        return port < len(self.outputs) and self.outputs[port] != ""

    @property
    def kind(self) -> str:
        """The operator with its domain, as the table of operators names it."""
        return f"{self.domain}:{self.op}" if self.domain else self.op


def operation_of(node: gs.Node, opset: int) -> Operation:
    """A node of a model of that opset."""
    attributes = {
        name: lazy_of(value).load() if isinstance(value, gs.Constant) else value for name, value in node.attrs.items()
    }
    return Operation(
        node.op,
        node.name,
        node.domain or "",
        tuple(tensor.name for tensor in node.inputs),
        tuple(tensor.name for tensor in node.outputs),
        attributes,
        opset,
    )
