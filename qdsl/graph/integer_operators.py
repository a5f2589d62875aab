"""The operators of ONNX and of ONNX Runtime that hold integers of 8 bits, and where those that multiply them have what.

One list for whoever asks: whether a file is quantized, which kernels are integer ones, and which weights meet which
activations.
"""

from __future__ import annotations

from dataclasses import dataclass

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Factor:
    """The ports of a factor, of its zero point, whose type is that of the factor, and of its scale: None for an
    operator that knows none."""

    port: int
    zero: int
    scale: int | None = None


@dataclass(frozen=True, slots=True)
class IntegerOperator:
    """An operator that adds products of 8 bit integers.

    `data` is the factor whose rows are multiplied, None for floats that the operator itself makes uint8 of; `weights`
    are those that it meets, constant or not. `matrix`: either factor of such a product may be a constant. `output` is
    the port of the zero point of what it writes, which has the type of the data; None for those that write floats, or
    (`sums`) int32.
    """

    name: str
    domains: tuple[str, ...]
    data: Factor | None
    weights: tuple[Factor, ...]
    matrix: bool = False
    output: int | None = None
    sums: bool = False

    @property
    def factors(self) -> tuple[Factor, ...]:
        return self.weights if self.data is None else (self.data, *self.weights)

    @property
    def weight_ports(self) -> tuple[int, ...]:
        """Where a constant may stand, the likeliest first."""
        first = self.weights[0].port
        return (first, self.data.port) if self.matrix and self.data is not None else (first,)


_DATA, _WEIGHT = Factor(0, 2, 1), Factor(3, 5, 4)
_SUMMED = (Factor(0, 2), (Factor(1, 3),))
_OPERATORS = (
    IntegerOperator("ConvInteger", ("",), *_SUMMED, sums=True),
    IntegerOperator("MatMulInteger", ("",), *_SUMMED, matrix=True, sums=True),
    IntegerOperator("QLinearConv", ("", _MICROSOFT), _DATA, (_WEIGHT,), output=7),
    IntegerOperator("QLinearMatMul", ("",), _DATA, (_WEIGHT,), matrix=True, output=7),
    IntegerOperator("QGemm", (_MICROSOFT,), _DATA, (_WEIGHT,), matrix=True, output=8),
    IntegerOperator("MatMulIntegerToFloat", (_MICROSOFT,), Factor(0, 4, 2), (Factor(1, 5, 3),), matrix=True),
    IntegerOperator("DynamicQuantizeMatMul", (_MICROSOFT,), None, (Factor(1, 3, 2),)),
    IntegerOperator("QAttention", (_MICROSOFT,), Factor(0, 6, 3), (Factor(1, 7, 4),)),
    IntegerOperator("DynamicQuantizeLSTM", (_MICROSOFT,), None, (Factor(1, 9, 8), Factor(2, 11, 10))),
)
MULTIPLYING = {operator.name: operator for operator in _OPERATORS}

# Element by element, pooled or looked up: `QLinear..` and these; and products of floats with integers.
_OTHERS = frozenset(
    [
        *("QuantizeLinear", "DynamicQuantizeLinear", "QEmbedLayerNormalization", "MulInteger", "ReduceSumInteger"),
        *("MatMulInteger16", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "QMoE"),
    ]
)
_LINEAR = "QLinear"


def multiplying(op: str, domain: str) -> IntegerOperator | None:
    """The operator that adds integer products, if `op` of `domain` is one."""
    found = MULTIPLYING.get(op)
    return found if found is not None and ("" if domain == "ai.onnx" else domain) in found.domains else None


def computes_in_integers(op: str) -> bool:
    """Whether `op` is a kernel that computes on integers of 8 bits from one end to the other."""
    return op in MULTIPLYING or op.startswith(_LINEAR)


def says_quantized(op: str) -> bool:
    """Whether a node of `op` says that its model is quantized."""
    return computes_in_integers(op) or op in _OTHERS
