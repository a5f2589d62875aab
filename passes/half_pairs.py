"""Pairs with float16 scales, beside float16 nodes: what `store_float16` does to them.

A QuantizeLinear has its scale in the type of what it reads, and for each type of reader there is a DequantizeLinear
with its scale in that type: no Cast stands at a pair, since TensorRT-RTX computes in float behind a Cast to float32.
The integers are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from qdsl.graph.view import GraphView
from qdsl.graph.walk import writer
from qdsl.rewrite.sketch import Slot
from qdsl.spec.plan import TensorPlan, WeightPlan

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class HalfPairsPlan(Protocol):
    """The part of a plan that says which pairs have float16 scales."""

    @property
    def tensors(self) -> Sequence[TensorPlan]: ...

    @property
    def weights(self) -> Sequence[WeightPlan]: ...


class HalfPairs:
    """Looks up pairs with float16 scales in a graph in which they are written: a `Model`, or a `Sketch` of one.
    `tensor` is how the graph finds a tensor by its name."""

    def __init__(self, plan: HalfPairsPlan, tensor: Callable[[str], Any]) -> None:
        self._through = _through(plan)
        halves = (tensor(each.tensor) for each in plan.tensors if each.scheme.float16_scales)
        self._quantizers = {id(found) for each in halves if each is not None and (found := _quantizer(each))}
        self._reads: dict[int, tuple[Any, list[Slot]]] = {}

    def noted(self, node: Any, port: int) -> bool:
        """Whether a port that is to read float16 reads such a pair; it is then noted."""
        if (node.name, port) not in self._through:
            return False
        tensor = node.inputs[port]
        self._reads.setdefault(id(tensor), (tensor, []))[1].append((node, port))
        return True

    def quantizes(self, node: Any, port: int) -> bool:
        """Whether the port is where such a pair reads its values."""
        return port == 0 and id(node) in self._quantizers

    def read(self) -> Iterator[tuple[Any, list[Slot]]]:
        """What DequantizeLinear nodes write, each with the ports that were noted of it."""
        yield from self._reads.values()


def _through(plan: HalfPairsPlan) -> frozenset[tuple[str, int]]:
    """The ports that read through a pair with a float16 scale."""
    tensors = {(to.node, to.port) for each in plan.tensors if each.scheme.float16_scales for to in each.readers}
    weights = {(each.node, each.port) for each in plan.weights if each.scheme.float16_scales}
    return frozenset(tensors | weights)


def _quantizer(tensor: Any) -> Any:
    """The QuantizeLinear of a tensor, or of what stands for it by now: a graph output is called as its tensor was."""
    node = writer(tensor)
    if node is None or node.op != _DEQUANTIZE:
        return next((reader for reader in tensor.outputs if reader.op == _QUANTIZE), None)
    while node is not None and node.op != _QUANTIZE:
        node = writer(node.inputs[0])
    return node


def paired_reads(view: GraphView, plan: HalfPairsPlan) -> set[tuple[int, int]]:
    """Where such pairs stand: nodes and ports, at which neither a Cast nor a float constant is read."""
    return {(view.node_index[node], port) for node, port in _through(plan) if node}
