"""Which quantized tensors of a file are rounded together: what is rounded once more to the same steps loses nothing."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.finished.records import Finished, QuantizedTensor
from qdsl.graph.moves import MOVES


def rounded_together(finished: Finished) -> list[list[list[QuantizedTensor]]]:
    """Groups in graph order; each holds the records of one tensor after the other. Tensors belong together where one
    DequantizeLinear serves them (a Concat of integers), and where nothing but operators that move values stands between
    two that have the same scale and zero point: leaving one of these alone in float would change nothing."""
    tensors: dict[str, list[QuantizedTensor]] = {}
    for record in finished.tensors:
        tensors.setdefault(record.tensor, []).append(record)
    joined = _Joined(tensors)
    for one, other in _together(finished, tensors):
        joined.join(one, other)
    groups: dict[str, list[list[QuantizedTensor]]] = {}
    for name, records in tensors.items():
        groups.setdefault(joined.root(name), []).append(records)
    return list(groups.values())


def _together(finished: Finished, tensors: dict[str, list[QuantizedTensor]]) -> Iterator[tuple[str, str]]:
    served: dict[str, str] = {}
    read: dict[str, QuantizedTensor] = {}
    for record in finished.tensors:
        for name in record.dequantizers:
            yield record.tensor, served.setdefault(name, record.tensor)
            for written in finished.view.node(name).outputs:
                read[written] = record
    for node in finished.view.nodes:
        if node.op not in MOVES or node.domain:
            continue
        ports = MOVES[node.op].data
        before = [read[name] for port, name in enumerate(node.inputs) if port in ports and name in read]
        for written in node.outputs:
            for record in tensors.get(written, ()):
                yield from ((written, each.tensor) for each in before if each.parameters.key == record.parameters.key)


class _Joined:
    """Names that belong together, each set known by the name that came first."""

    def __init__(self, names: dict[str, list[QuantizedTensor]]) -> None:
        self._above = {name: name for name in names}
        self._place = {name: place for place, name in enumerate(names)}

    def root(self, name: str) -> str:
        while self._above[name] != name:
            self._above[name] = self._above[self._above[name]]
            name = self._above[name]
        return name

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.root(one), self.root(other)), key=self._place.__getitem__)
        self._above[second] = first
