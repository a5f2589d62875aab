"""What a row of a table asks of a node beyond its operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qdsl.spec.bounds import Count

if TYPE_CHECKING:
    from qdsl.graph.view import AttrValue, GraphView, NodeView

_ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class When:
    """What a node must be for a row to speak of it, beyond its operator. `attrs` maps an attribute to the values
    allowed, as text ("absent" stands for a missing attribute); `ranks` are those of the first input."""

    min_opset: int | None = None
    max_opset: int | None = None
    attrs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constant_ports: tuple[Count, ...] = ()
    ranks: tuple[Count, ...] = ()
    max_outputs: int | None = None

    def holds(self, node: NodeView, view: GraphView) -> bool:
        if self.min_opset is not None and view.opset < self.min_opset:
            return False
        if self.max_opset is not None and view.opset > self.max_opset:
            return False
        if not all(attr_text(node, name) in allowed for name, allowed in self.attrs.items()):
            return False
        if any(port >= len(node.inputs) or not view.is_constant(node.inputs[port]) for port in self.constant_ports):
            return False
        if self.ranks and _rank(node, view) not in self.ranks:
            return False
        return self.max_outputs is None or sum(1 for name in node.outputs if name) <= self.max_outputs


def attr_text(node: NodeView, name: str) -> str:
    """The value of an attribute as a table writes it; "absent" for none."""
    if name not in node.attrs:
        return _ABSENT
    return _as_text(node.attrs[name])


def _as_text(value: AttrValue) -> str:
    if isinstance(value, tuple):
        return ",".join(_as_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rank(node: NodeView, view: GraphView) -> int | None:
    tensor = view.tensors.get(node.inputs[0]) if node.inputs else None
    return None if tensor is None or tensor.shape is None else len(tensor.shape)
