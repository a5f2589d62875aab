"""What an artifact computes, to the bit: its integer graph in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.integer.interpret import run
from qdsl.integer.layout import as_onnx, stored
from qdsl.integer.records import IntegerGraph, Tensor
from qdsl.integer.rounding import quantized

Arrays = Mapping[str, NDArray[Any]]


def given(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """An array in the order of ONNX as `tensor` stores it: uint8 less 128, floats quantized where it has integers.
    Raises ValueError for another shape or type."""
    if tensor.dtype == "int8" and array.dtype == np.uint8:
        array = (array.astype(np.int16) - 128).astype(np.int8)
    if tensor.encoding is not None and array.dtype.kind == "f":
        array = quantized(array, tensor.encoding)
    return stored(tensor, array)


class Golden:
    """See `qdsl.targets.base.Runner`."""

    def __init__(
        self, graph: IntegerGraph, rounding: Literal["ort", "tflite"] = "ort", *, span: Span | None = None
    ) -> None:
        self._graph, self._rounding, self._span = graph, rounding, span

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._graph.outputs

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays in the order of ONNX. Raises QdslError (artifact-refused) where an input is missing or another than
        the graph takes."""
        found = self.run_stored(self.feeds(arrays))
        return {name: as_onnx(self._graph.tensors[name], array) for name, array in found.items()}

    def feeds(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """The inputs as they are stored: floats are quantized where the graph takes integers. Raises likewise."""
        tensors = self._graph.tensors
        try:
            return {name: given(tensors[name], arrays[name]) for name in self._graph.inputs if name in arrays}
        except ValueError as error:
            raise self._refused(error) from None

    def run_stored(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """The outputs as they are stored. Raises likewise."""
        try:
            return run(self._graph, feeds, rounding=self._rounding)
        except ValueError as error:
            raise self._refused(error) from None

    def _refused(self, error: ValueError) -> QdslError:
        headline = "the integer graph does not take this sample"
        return QdslError([Diagnostic("artifact-refused", headline, self._span, str(error)[:300])])
