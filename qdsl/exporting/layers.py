"""The layers of a finished file as data: each with its attributes and, port by port, what it reads and writes and by
which scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from qdsl.finished.flow import is_dequantize, is_quantize
from qdsl.finished.records import Finished, QuantizedTensor, Role
from qdsl.graph.view import NodeView


class Layers:
    """What the manifest says of the graph. `quantized` are the numbers of tensors in `Finished.tensors`."""

    def __init__(self, finished: Finished) -> None:
        self.view = finished.view
        self._read: dict[tuple[str, int], int] = {}
        self._written: dict[str, list[int]] = defaultdict(list)
        self._values: dict[tuple[str, int], str] = {}
        self._ends: dict[str, int] = {}
        for number, tensor in enumerate(finished.tensors):
            for reader in tensor.readers:
                self._read[reader.node, reader.port] = number
                self._values[reader.node, reader.port] = tensor.tensor
            if tensor.role is Role.ACTIVATION:
                self._written[tensor.tensor].append(number)
                self._ends.update(dict.fromkeys(self._around(tensor), number))

    def _around(self, tensor: QuantizedTensor) -> Iterator[str]:
        """The names under which an activation enters or leaves the model: as floats, or as integers."""
        yield tensor.tensor
        for name in tensor.quantizers:
            yield from self.view.node(name).outputs[:1]
        for name in tensor.dequantizers:
            node = self.view.node(name)
            yield from (node.inputs[0], node.outputs[0])

    def end(self, name: str) -> dict[str, Any]:
        """An input or an output of the model."""
        return self._value(name, [self._ends[name]] if name in self._ends else [])

    def nodes(self) -> Iterator[NodeView]:
        """The nodes that are layers: all but those that quantize, dequantize or hold constants."""
        for node in self.view.nodes:
            if node.op != "Constant" and not is_quantize(node) and not is_dequantize(node):
                yield node

    def constants(self) -> Iterator[str]:
        """Constants that layers read as they are, in order of first use."""
        seen: set[str] = set()
        for node in self.nodes():
            for port, name in enumerate(node.inputs):
                if name and name not in seen and (node.name, port) not in self._read and self._constant(name):
                    seen.add(name)
                    yield name

    def _constant(self, name: str) -> bool:
        producer = self.view.producer(name)
        return self.view.is_constant(name) or (producer is not None and producer.op == "Constant")

    def described(self, files: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """One entry for each layer, in the order in which they can be computed. `files` are those of constants."""
        for node in self.nodes():
            yield {
                "node": node.name,
                "op": node.op,
                "domain": node.domain or "ai.onnx",
                "attributes": {name: value for name, value in sorted(node.attrs.items()) if value is not None},
                "not_shown": sorted([*(name for name, value in node.attrs.items() if value is None), *node.bodies]),
                "inputs": [self._input(node, port, files) for port in range(len(node.inputs))],
                "outputs": [self._value(name, self._written.get(name, [])) for name in node.outputs],
            }

    def _input(self, node: NodeView, port: int, files: Mapping[str, str]) -> dict[str, Any]:
        number = self._read.get((node.name, port))
        name = self._values.get((node.name, port), node.inputs[port])
        found = self._value(name, [] if number is None else [number])
        return {**found, "file": files[name]} if number is None and name in files else found

    def _value(self, name: str, quantized: list[int]) -> dict[str, Any]:
        seen = self.view.tensors.get(name)
        shape = None if seen is None or seen.shape is None else list(seen.shape)
        return {"tensor": name, "shape": shape, "dtype": None if seen is None else seen.dtype, "quantized": quantized}
