"""What no input of the graph reaches: constants, and what is computed of them. Nothing large is read or computed."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph import Model
from qdsl.graph.constants import Array, Lazy, lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.folded import DRAWN, folded, held
from qdsl.graph.meta import meta_of
from qdsl.graph.moves import SAME_VALUES

# Bytes: of one scale or zero point, of what it is computed from, and of all of them together.
_LARGEST = 2**25
_ALL = 2**29
_NO_NUMBERS = "OUSc"  # texts, and numbers of two parts
_COPIES = SAME_VALUES | {"Cast", "Clip", "DequantizeLinear", "QuantizeLinear"}


class Fixed:
    """The tensors of a model that no input reaches. Made in one walk over the nodes, which are in order; it keeps the
    bytes of the largest constant that each is computed from."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._values: dict[str, Array | None] = {}
        self._left = _ALL
        self._behind: dict[str, int] = {}
        self._roots: dict[str, str] = {}
        for node in model.nodes():
            self._add(node)

    def _add(self, node: gs.Node) -> None:
        if node.op in DRAWN or meta_of(node).captured:
            return
        inputs = [tensor for tensor in node.inputs if tensor.name]
        if not inputs:
            value = held(node)
            if value is not None:
                self._behind[node.outputs[0].name] = value.nbytes
            return
        sizes = [self._bytes(tensor) for tensor in inputs]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return
        for tensor in node.outputs:
            self._behind[tensor.name] = max(known)
            if node.op in _COPIES and node.inputs[0].name:
                first = node.inputs[0].name
                self._roots[tensor.name] = self._roots.get(first, first)

    def _bytes(self, tensor: gs.Tensor) -> int | None:
        return lazy_of(tensor).nbytes if isinstance(tensor, gs.Constant) else self._behind.get(tensor.name)

    def __contains__(self, name: object) -> bool:
        return name in self._behind or isinstance(self._model.tensor(str(name)), gs.Constant)

    def root(self, name: str) -> str:
        """The constant whose values `name` has, after they were moved, cast or rounded; `name` where it is none."""
        return self._roots.get(name, name)

    def stored(self, name: str) -> Lazy | None:
        """The constant called `name` without its values: an initializer, or what a Constant node writes."""
        tensor = self._model.tensor(name)
        if isinstance(tensor, gs.Constant):
            return lazy_of(tensor)
        return held(tensor.inputs[0]) if tensor is not None and len(tensor.inputs) == 1 else None

    def value(self, name: str) -> Array | None:
        """The value of `name`; None where an input reaches it, and where it is too large for a scale, or text."""
        if name not in self._values:
            found = self._read(name)
            self._left -= 0 if found is None else found.nbytes
            self._values[name] = found
        return self._values[name]

    def _read(self, name: str) -> Array | None:
        stored = self.stored(name)
        size = stored.nbytes if stored is not None else self._behind.get(name)
        if size is None or size > min(_LARGEST, self._left):
            return None
        found: Any = folded(self._model, name) if stored is None else stored.load()
        if found is None or found.nbytes > _LARGEST or found.dtype.kind in _NO_NUMBERS:
            return None
        return np.array(found)

    def element(self, name: str) -> str | None:
        """The element type of a stored constant or, where the graph knows it, of any tensor."""
        stored = self.stored(name)
        return None if stored is None else type_name(stored.element_type)

    def elements(self, name: str) -> int | None:
        """How many elements a stored constant has."""
        stored = self.stored(name)
        return None if stored is None else prod(stored.shape)
