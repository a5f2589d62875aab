"""Number types a recipe may name, with their ranges and the ONNX opset that first quantizes to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class DType:
    """One number type.

    `bits` is the storage width. `qmin`/`qmax` are the smallest and largest stored integer (None for float types).
    `qdq_opset` is the first ai.onnx opset whose QuantizeLinear and DequantizeLinear take the type
    (ONNX operator schemas QuantizeLinear-10, -13, -19, -21, -25).
    """

    name: str
    bits: int
    signed: bool
    integer: bool
    qdq_opset: int | None

    @property
    def qmin(self) -> int | None:
        if not self.integer:
            return None
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int | None:
        if not self.integer:
            return None
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def quantized(self) -> bool:
        """Whether values are stored of it in steps of a scale: integers, and floats that QuantizeLinear writes."""
        return self.integer or self.qdq_opset is not None

    @property
    def ends(self) -> tuple[int, int]:
        """The smallest and largest value that is stored, in steps of a scale. ValueError for a type that is not
        quantized."""
        if not self.quantized:
            raise ValueError(f"{self} is not a quantized type")
        lowest, highest = self.qmin, self.qmax
        if lowest is None or highest is None:
            return -FLOAT8_LARGEST, FLOAT8_LARGEST
        return lowest, highest

    @property
    def element(self) -> str:
        """What ONNX calls the element type."""
        return _ELEMENTS.get(self.name, self.name)

    def __str__(self) -> str:
        return self.name


# OCP 8 bit floating point, E4M3: 448 is the largest value, there is no infinity.
FLOAT8_LARGEST = 448
_ELEMENTS = {"float8": "float8e4m3fn"}


def _integers() -> dict[str, DType]:
    first_opset = {2: 25, 4: 21, 8: 10, 16: 21}
    made = {}
    for bits, opset in first_opset.items():
        made[f"int{bits}"] = DType(f"int{bits}", bits, True, True, opset)
        made[f"uint{bits}"] = DType(f"uint{bits}", bits, False, True, opset)
    return made


DTYPES: dict[str, DType] = {
    **_integers(),
    "float8": DType("float8", 8, True, False, 19),
    "float16": DType("float16", 16, True, False, None),
    "float32": DType("float32", 32, True, False, None),
}


BY_ELEMENT: dict[str, DType] = {dtype.element: dtype for dtype in DTYPES.values()}


def dtype_named(name: str) -> DType:
    """The type called `name`; KeyError when there is none."""
    return DTYPES[name]
