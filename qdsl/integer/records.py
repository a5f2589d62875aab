"""What an integer graph is made of: plain data, between a Q/DQ file and whatever computes it.

Tensors are described as they are stored: C order, those that convolutions and pools touch with channels last
([1, H, W, C]). Integer tensors are int8 (uint8 where values are quantized at run time, as ONNX's DynamicQuantizeLinear
makes them); float32 stands for what is not quantized. Every size is known, and the batch is 1.

Arithmetic, exactly, as ONNX Runtime has it for int8 on x86-64 with AVX2 (f32 is rounding to float32, rint rounds ties
to even, fma is a product and a sum with one rounding to float32):
- a sum of products is int32: sum (x - x_zero) * w + bias, weights centred on 0;
- requantizing is clip(rint(f32(f32(sum) * scale)) + zero, low, high), scale = f32(f32(x_scale * w_scale) / y_scale);
- what else there is says the operator. Fixed point instead of float32: `qdsl.integer.rounding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

Dtype = Literal["int8", "uint8", "int32", "int64", "float32"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an integer q stands for: (q - zero) * scale; `scale` is a float32."""

    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """`shape` is as stored, `axes` says which axis of the ONNX tensor each stored axis is. `encoding` is None for
    floats, for whole numbers that are no quantized values, and where it is found at run time (`Op.encodes`)."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype
    axes: tuple[int, ...]
    encoding: Encoding | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What a convolution or pool looks at: (rows, columns) each; `pads` are top, left, bottom, right."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Requantize:
    """Sums to int8: `scale` is float32, [1] or one per output channel; `low` and `high` are what is stored at most,
    after the zero point of the output (a fused Relu or Clip narrows them)."""

    scale: NDArray[Any]
    low: int = -128
    high: int = 127


@dataclass(frozen=True, slots=True)
class Floats:
    """Sums to float32: f32(f32(sum) * scale) + bias, then clipped. `scale` is float32, [1] or one per output channel;
    with a run-time encoding of the input it is that of the weights alone, and multiplied by the input's at run time
    first. `bias` is float32, per channel."""

    scale: NDArray[Any]
    bias: NDArray[Any] | None = None
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Op:
    """`node` is the ONNX node that it stands for (the one that computes; what was fused is in `fused`), `inputs` and
    `output` are names of tensors."""

    node: str
    inputs: tuple[str, ...]
    output: str
    fused: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """`weight` is int8 [Cout, KH, KW, Cin / groups], `bias` int32 [Cout] or None, `to` what becomes of sums. The input
    is int8 with an encoding, or uint8 with one at run time (then a second input is that of `DynamicQuantize.encoding`,
    and `to` is Floats)."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    window: Window
    to: Requantize | Floats
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.weight.shape[3] == 1 and self.weight.shape[0] == self.groups

    @property
    def pointwise(self) -> bool:
        one = self.window.kernel == (1, 1) and self.window.strides == (1, 1) and not any(self.window.pads)
        return one and self.groups == 1


@dataclass(frozen=True, slots=True)
class Dense(Op):
    """The last axis of the input by a matrix: `weight` is int8 [out, in], `bias` int32 [out] or None. The input
    as that of `Conv`."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    to: Requantize | Floats


@dataclass(frozen=True, slots=True)
class FloatConv(Op):
    """In float32: `weight` is [Cout, KH, KW, Cin / groups], `bias` [Cout] or None; clipped to `low` and `high`."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    window: Window
    groups: int = 1
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class FloatDense(Op):
    """In float32: the last axis by `weight` [out, in], plus `bias` [out] or None; clipped."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Binary(Op):
    """Two tensors that broadcast as ONNX says, in the stored order. Integers as QLinearAdd and QLinearMul compute them:
    in float32, the zero point inside the rounding; then clipped.
    - mul: rint(f32(f32(f32((a - a_zero) * (b - b_zero)) * r) + y_zero)), r = f32(f32(a_scale * b_scale) / y_scale);
    - add: rint(fma(a, ra, fma(b, rb, c))), ra = f32(a_scale / y_scale), rb = f32(b_scale / y_scale),
      c = f32(y_zero - fma(ra, a_zero, f32(rb * b_zero))); a and b are the codes themselves. Where the first input
      stands still along the innermost axis of ONNX (`qdsl.integer.interpret_between.first_stands`), they trade places;
    - sub and div, which no runtime has: in float32 between Dequantize and Quantize."""

    kind: Literal["add", "sub", "mul", "div"]
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Along the stored `axis`; integers of another encoding than the output's are requantized as by QLinearConcat."""

    axis: int


@dataclass(frozen=True, slots=True)
class MaxPool(Op):
    """Padding never wins. Integers keep their encoding."""

    window: Window


@dataclass(frozen=True, slots=True)
class AveragePool(Op):
    """`counts_pads`: padding counts in the divisor, as 0. Over the whole plane where `window` is None, which is
    GlobalAveragePool or a kernel as large as the unpadded plane: the runtime computes both alike. Integers as
    QLinearAveragePool and QLinearGlobalAveragePool compute them, then clipped:
    - with a window: the values f32((x - x_zero) * x_scale) added in float32, row by row of the window, v;
      rint(f32(f32(f32(v / n) / y_scale) + y_zero));
    - the whole plane: rint(f32(f32(sum (x - x_zero)) * f32(x_scale / f32(y_scale * n)))) + y_zero.
    Floats of the whole plane are added as `qdsl.integer.interpret_pools.plane_mean` says."""

    window: Window | None
    counts_pads: bool = False
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Resize(Op):
    """Nearest: the row and the column of the input that each row and column of the output copies (int32)."""

    rows: NDArray[Any]
    columns: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """`before` and `after` per stored axis; `value` is as stored."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Table(Op):
    """A function of one int8 by a table of 256: `values[q + 128]` is the output (int8); `function` is the ONNX operator
    that it stands for (`qdsl.integer.tables.table_of` computes it)."""

    values: NDArray[Any]
    function: str = ""


@dataclass(frozen=True, slots=True)
class Unary(Op):
    """A function of one float32: a name of `qdsl.integer.functions.FUNCTIONS` (an ONNX operator's; Gelu by tanh is
    GeluTanh), with its attributes."""

    function: str
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """Along the last stored axis; integers as QLinearSoftmax computes them: e = `qdsl.integer.tables.softmax_exps`,
    v = e[255 + x - max x], s their float32 sum in order; rint(f32(f32(v * floor(f32(1 / y_scale))) / s)) + y_zero,
    clipped."""


@dataclass(frozen=True, slots=True)
class Quantize(Op):
    """float32 to int8: clip(rint(f32(x / scale)) + zero)."""


@dataclass(frozen=True, slots=True)
class Dequantize(Op):
    """int8 to float32: (q - zero) * scale."""


@dataclass(frozen=True, slots=True)
class DynamicQuantize(Op):
    """float32 to uint8 by the range of the values themselves, as ONNX's DynamicQuantizeLinear; `encoding` is the tensor
    of the scale and zero point found (float32 [2]): low and high are the range with 0 in it,
    scale = f32(f32(high - low) / 255) or 1 where both are 0, zero = rint(f32(0 - f32(low / scale)))."""

    encoding: str


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The same bytes under another shape."""


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """`order[i]` is the stored axis of the input that becomes axis i."""

    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """From `starts`, `steps` apart, as many as the output has, per stored axis; steps are above 0."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IntegerGraph:
    """`ops` in the order in which they run; `tensors` by name, those of `constants` (stored values) among them."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
