"""The integer products of a file as ONNX Runtime fuses it: which codes meet which, once constants are folded.

Whatever stands between a stored weight and its node, the runtime computes it when it loads the file (a QuantizeLinear
of float weights, a Transpose, a Clip), and makes int8 of some float weights by itself. So the optimized graph is read:
that of x86, where int8 activations become uint8, or that of Arm, where they stay, whatever this machine is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from qdsl.graph.checks import bodies
from qdsl.graph.integer_operators import Factor, IntegerOperator, multiplying
from qdsl.graph.sessions import FUSED
from qdsl.targets.ort.element_types import declared, factor_type, light
from qdsl.targets.ort.optimized import loadable, optimized
from qdsl.targets.results import Operand, Product

_TYPES = {int(TensorProto.INT8): "int8", int(TensorProto.UINT8): "uint8"}
_INT8_ALLOWED = "session.qdqisint8allowed"


def products(model: str | Path | bytes, family: str) -> Iterator[Product]:
    """Every integer product of a file on CPUs of a `family` ("x86", "arm"), bodies included, in graph order; codes are
    read one at a time. Raises RuntimeRefusesError where ONNX Runtime does not load the file."""
    _, source, weights = loadable(model)
    with optimized(source, FUSED, weights, {_INT8_ALLOWED: str(int(family == "arm"))}) as (fused, folder):
        types = shape_inference.infer_shapes(light(fused)).graph
        yield from _Reading(folder, fused.graph, types, {}, {}).products()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One graph; `typed` is the same with inferred types, `known` and `constants` what the graphs around it have.
    `folder` holds the large constants."""

    folder: Path
    graph: GraphProto
    typed: GraphProto
    known: Mapping[str, int]
    constants: Mapping[str, TensorProto]

    def products(self) -> Iterator[Product]:
        types = {**self.known, **declared(self.typed)}
        constants = {**self.constants, **{tensor.name: tensor for tensor in self.graph.initializer}}
        inner = _Reading(self.folder, self.graph, self.typed, types, constants)
        for node, twin in zip(self.graph.node, self.typed.node, strict=True):
            for body, known in zip(bodies(node.attribute), bodies(twin.attribute), strict=True):
                yield from _Reading(self.folder, body, known, types, constants).products()
            operator = multiplying(node.op_type, node.domain)
            if operator is not None:
                yield from inner._of(node, operator)

    def _of(self, node: NodeProto, operator: IntegerOperator) -> Iterator[Product]:
        said = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        data: Operand | None = Operand("uint8")  # what an operator quantizes itself
        if operator.data is not None:
            data = self._operand(node, operator.data, not said.get("transA", 0))
        for factor in operator.weights:
            weight = self._operand(node, factor, bool(said.get("transB", 0)))
            if data is not None and weight is not None:
                yield Product(node.name, node.op_type, data, weight, said.get("group", 1))

    def _operand(self, node: NodeProto, factor: Factor, turned: bool) -> Operand | None:
        """None where the graph does not say whether it is int8 or uint8."""
        dtype = _TYPES.get(factor_type(node, factor, self.known) or 0)
        if dtype is None:
            return None
        codes, zero, scale = (self._read(node, port) for port in (factor.port, factor.zero, factor.scale))
        absent = len(node.input) <= factor.zero or not node.input[factor.zero]
        one_zero = absent or (zero is not None and np.unique(zero).size == 1)
        return Operand(dtype, codes, turned, zero, scale, one_zero)

    def _read(self, node: NodeProto, port: int | None) -> NDArray[Any] | None:
        """The constant at a port."""
        stored = self.constants.get(node.input[port]) if port is not None and port < len(node.input) else None
        return None if stored is None else numpy_helper.to_array(stored, str(self.folder))
