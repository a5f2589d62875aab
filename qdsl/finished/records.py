"""What a finished file holds of quantization, as data: whoever made it, and in whichever form.

A form is told apart only where it changes what can be said or mended; every rule reads the same records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from qdsl.spec import DTYPES, Granularity
from qdsl.spec.plan import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qdsl.graph import Model
    from qdsl.graph.view import GraphView


# Binary digits of a scale's type, and the largest value of it.
_DIGITS = {"float32": (24, 3.4e38), "float16": (11, 65504.0), "bfloat16": (8, 3.3e38)}


class Role(Enum):
    """What a quantized tensor is to those that read it."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    BIAS = "bias"


class Form(Enum):
    """How a file says that a tensor is quantized."""

    PAIR = "pair"  # QuantizeLinear, then DequantizeLinear
    STORED = "stored"  # a constant of integers, then DequantizeLinear
    FLOAT_PAIR = "float_pair"  # a constant of floats, QuantizeLinear, DequantizeLinear
    LONE_DEQUANTIZE = "lone_dequantize"  # integers that come from outside or from an integer operator
    LONE_QUANTIZE = "lone_quantize"  # integers that leave the graph or go to an integer operator
    OPERATOR = "operator"  # scale and zero point are inputs of QLinearConv, QGemm, MatMulNBits, ..
    DYNAMIC = "dynamic"  # DynamicQuantizeLinear, or an operator that quantizes floats itself
    FAKE = "fake"  # one node that rounds floats to a grid: `Quant` of QONNX, PACT, FakeQuantize


@dataclass(frozen=True, slots=True)
class Parameters:
    """How integers stand for values: value = (integer - zero point) x scale.

    `element` is the type of the integers ("int8", "uint4", "float8e4m3fn"), `scale_element` that of the scale. `scale`
    and `zero_point` have the shape that they have in the file, () or one axis or that of blocks; None where they are
    computed while the model runs, `zero_point` also where none is written (`zero_written` False: it is 0). `axis`
    counts from 0 whatever the file wrote. `low` and `high` are the integers in use where something narrows them (a
    Clip, a `Quant` of few bits), else None. `key` is equal where all of that is equal by value.
    """

    element: str
    scale_element: str
    granularity: Granularity
    scale: NDArray[Any] | None
    zero_point: NDArray[Any] | None
    zero_written: bool
    key: str
    axis: int | None = None
    block: int | None = None
    low: int | None = None
    high: int | None = None

    @property
    def gives_back(self) -> bool:
        """Whether every integer, dequantized and quantized again by these parameters, is itself. Its value is rounded
        once by the product and once by the quotient, each by half of the last digit of the scale's type: 16-bit
        integers do not survive a float16, and none survives a scale of 0 or a value that overflows."""
        digits, largest = _DIGITS.get(self.scale_element, (0, 0.0))
        dtype = DTYPES.get(self.element)
        if self.scale is None or dtype is None or not dtype.integer or dtype.bits + 2 >= digits:
            return False
        known = [abs(float(scale)) for scale in self.scale.reshape(-1)]
        return all(0 < scale * ((1 << dtype.bits) - 1) <= largest for scale in known)


@dataclass(frozen=True, slots=True)
class QuantizedTensor:
    """One tensor that a file holds or passes in integers.

    `tensor` is the float value: what a QuantizeLinear reads, or what the DequantizeLinear of a constant writes.
    `quantizers` and `dequantizers` are the nodes, `between` those that stand on the integers between them (Transpose,
    Reshape, Clip), in graph order. `readers` read the dequantized value; one with node "" is a graph output. `stored`
    is the constant that a weight or a bias is read from. `origin` are the words of the recipe's line, where the file
    has them.
    """

    tensor: str
    role: Role
    form: Form
    parameters: Parameters
    quantizers: tuple[str, ...] = ()
    dequantizers: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    readers: tuple[Reader, ...] = ()
    stored: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A tool or a form that wrote (part of) a file: `name` ("onnxruntime", "modelopt", "qonnx", ..) and what shows it
    in a few words."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What a file says of a quantization that cannot hold: a scale of another length than its axis has, an axis that
    the tensor does not have, blocks that do not divide it. `rule` is the audit rule that tells it, `node` where."""

    rule: str
    node: str
    tensor: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished file. `model` is as it was read, `view` its graph with every Q and DQ in it; `tensors` are in graph
    order. `metadata` are the model's own words (metadata_props)."""

    model: Model
    view: GraphView
    tensors: tuple[QuantizedTensor, ...]
    dialects: tuple[Dialect, ...] = ()
    faults: tuple[Fault, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def quantized(self) -> bool:
        return bool(self.tensors)
