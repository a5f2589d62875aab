"""Who hands values to whom in a report: what drawings and viewers draw edges from.

The operators of a report are those of the float graph; what stands between two of them in the file is told by the
tensors that they read through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from qdsl.auditing.finding import Finding
from qdsl.auditing.formats.told import told
from qdsl.auditing.report import AuditReport, TensorFacts

# A graph input or output, where a node's number is meant.
OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Edge:
    """`tensor` goes from output `output` of node `source` to input `port` of node `target`. Nodes are numbered as in
    the report; `source` OUTSIDE are the graph inputs, which `output` counts, and `target` OUTSIDE the graph outputs,
    which `port` counts. `through` numbers the quantized tensor that is read, None for floats."""

    tensor: str
    source: int
    output: int
    target: int
    port: int
    through: int | None = None


@dataclass(frozen=True)  # without slots: what is derived is kept
class Wiring:
    """The edges of `report`, constants left out."""

    report: AuditReport

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge: first into nodes, by node and port, then out of the graph."""
        found = []
        for number, node in enumerate(self.report.nodes):
            for port, tensor in enumerate(node.inputs):
                name = self.source(tensor)
                if name in self.written:
                    source, output = self.written[name]
                    through = self._through.get((node.name, port))
                    if through is None and name != tensor:
                        through = self._of_tensor.get(name)
                    found.append(Edge(name, source, output, number, port, through))
        for port, name in enumerate(self._shown):
            if name in self.written:
                source, output = self.written[name]
                found.append(Edge(name, source, output, OUTSIDE, port, self._leaving.get(name)))
        return tuple(found)

    @cached_property
    def written(self) -> Mapping[str, tuple[int, int]]:
        """(node, output) that writes each tensor; (OUTSIDE, input) for graph inputs."""
        found = {name: (OUTSIDE, port) for port, name in enumerate(self.report.inputs)}
        for number, node in enumerate(self.report.nodes):
            found.update((name, (number, output)) for output, name in enumerate(node.outputs) if name)
        return found

    def source(self, tensor: str) -> str:
        """The tensor that a node or the graph's input writes, of which `tensor` is what Q and DQ made."""
        seen = set()
        while tensor not in self.written and tensor in self.report.passed and tensor not in seen:
            seen.add(tensor)
            tensor = self.report.passed[tensor]
        return tensor

    @cached_property
    def numbers(self) -> Mapping[str, int]:
        """Nodes by name."""
        return {node.name: number for number, node in enumerate(self.report.nodes)}

    @cached_property
    def held(self) -> Mapping[int, tuple[int, ...]]:
        """The quantized tensors that a node tells of: activations where they are written, constants where they are
        read. What a graph input is quantized as belongs to the nodes that read it, too."""
        found: dict[int, dict[int, None]] = {}
        for number, tensor in enumerate(self.report.tensors):
            for node in self.homes(tensor):
                found.setdefault(node, {})[number] = None
        return {node: tuple(tensors) for node, tensors in found.items()}

    def homes(self, tensor: TensorFacts) -> tuple[int, ...]:
        """The nodes that a quantized tensor belongs to: the one that writes it, else those that read it."""
        source = self.written.get(self.source(tensor.tensor), (OUTSIDE, 0))[0]
        if source != OUTSIDE:
            return (source,)
        readers = (self.numbers.get(node) for node, _ in tensor.readers)
        return tuple(dict.fromkeys(number for number in readers if number is not None))

    @cached_property
    def places(self) -> Mapping[tuple[str, str], int]:
        """The node of the report where a place of the file is found, by (kind, name): Q, DQ and what stands between
        them lie at the tensor that they belong to."""
        found: dict[tuple[str, str], int] = {("node", name): number for name, number in self.numbers.items()}
        for tensor in self.report.tensors:
            homes = self.homes(tensor)
            if not homes:
                continue
            for name in (*tensor.quantizers, *tensor.dequantizers, *tensor.between):
                found.setdefault(("node", name), homes[0])
            for name in (tensor.tensor, tensor.stored):
                found.setdefault(("tensor", name), homes[0])
        for name, (source, _) in self.written.items():
            if source != OUTSIDE:
                found.setdefault(("tensor", name), source)
        for number, node in enumerate(self.report.nodes):
            for name in node.inputs:
                found.setdefault(("tensor", name), number)
        return found

    @cached_property
    def findings(self) -> Mapping[int, tuple[Finding, ...]]:
        """The findings of the report that speak of each node, as their place or among further ones."""
        found: dict[int, dict[int, Finding]] = {}
        for number, each in enumerate(told(self.report)):
            for node in self.spoken_of(each.found):
                found.setdefault(node, {})[number] = each.found
        return {node: tuple(every.values()) for node, every in found.items()}

    def spoken_of(self, found: Finding) -> tuple[int, ...]:
        """The nodes that a finding speaks of, that of its place first."""
        places = (self.places.get((place.kind, place.name)) for place in (found.place, *found.also))
        return tuple(dict.fromkeys(number for number in places if number is not None))

    @cached_property
    def _through(self) -> Mapping[tuple[str, int], int]:
        return {reader: number for number, each in enumerate(self.report.tensors) for reader in each.readers}

    @cached_property
    def _leaving(self) -> Mapping[str, int]:
        """Quantized tensors that leave the graph, by name."""
        return {each.tensor: number for number, each in enumerate(self.report.tensors) if ("", -1) in each.readers}

    @cached_property
    def _of_tensor(self) -> Mapping[str, int]:
        return {each.tensor: number for number, each in enumerate(self.report.tensors)}

    @cached_property
    def _shown(self) -> tuple[str, ...]:
        """What each graph output shows: where a DequantizeLinear writes it, the tensor that its pair stands on."""
        return tuple(self.source(name) for name in self.report.outputs)
