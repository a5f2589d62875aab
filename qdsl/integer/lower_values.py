"""What is known of an ONNX tensor while a graph is lowered: a constant, integers that lie somewhere, a function of
them, floats, or what an operator will write once it is known whether that is wanted as integers or as floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.lower_layout import Axes, Shape, stored_shape
from qdsl.integer.records import Encoding

Array = NDArray[Any]
INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class At:
    """Where an ONNX tensor of `shape` lies: in the stored tensor `name`, whose axis k is axis `axes[k]`.

    Two changes may still be to do. `within`: the tensor has the elements of that one, in the order that ONNX gives
    them, under another shape; `axes` is then the identity. `padding`: zeros (the zero point of integers) that are to
    stand before and behind, per ONNX axis; `shape` has them already."""

    name: str
    shape: Shape
    axes: Axes
    within: At | None = None
    padding: tuple[tuple[int, int], ...] | None = None

    @property
    def stored(self) -> Shape:
        return stored_shape(self.shape, self.axes)

    @property
    def ready(self) -> bool:
        return self.within is None and self.padding is None


@dataclass(frozen=True, slots=True)
class Const:
    """A constant that is no quantized value."""

    array: Array


@dataclass(frozen=True, slots=True)
class Packed:
    """A dequantized constant. `integers` are int64, less the zero point; `scale` is float32, [1] or one per place along
    `axis`. `zero` is the zero point of an int8 tensor, where there is one for all."""

    integers: Array
    scale: Array
    axis: int
    zero: int = 0

    def floats(self) -> Array:
        shape = [1] * self.integers.ndim
        if self.scale.size > 1:
            shape[self.axis] = -1
        return np.asarray(self.integers.astype(np.float32) * self.scale.reshape(shape), np.float32)


@dataclass(frozen=True, slots=True)
class Ints:
    """Integers as such. `encoding` is None where only a DequantizeLinear to come says what they stand for; `unsigned`
    those that are uint8 in the file, and lie less 128 here."""

    at: At
    encoding: Encoding | None
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A function of one float: an ONNX operator's name with attributes, or an operator of two. Of these the other is a
    number (the first of the two if `first`), or a function of the same integers by its own steps."""

    node: str
    function: str
    attributes: tuple[tuple[str, float], ...] = ()
    other: float | tuple[Step, ...] | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Of:
    """Floats that are a function of single integers: these dequantized, then `steps`."""

    at: At
    encoding: Encoding
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Floats:
    at: At


@dataclass(frozen=True, slots=True)
class RunInts:
    """uint8 of a DynamicQuantizeLinear; `encoding` is the tensor of its scale and zero point."""

    at: At
    encoding: str


@dataclass(frozen=True, slots=True)
class RunScale:
    """A scale found at run time times `factor` (float32)."""

    encoding: str
    factor: Array


@dataclass(frozen=True, slots=True)
class RunZero:
    """A zero point found at run time, less `less`."""

    encoding: str
    less: int = 0


@dataclass(frozen=True, slots=True)
class RunSums:
    """int32 sums, or floats equal to them (`cast`), of an operator on RunInts: `made` writes floats of a scale."""

    shape: Shape
    encoding: str
    made: Callable[[Array], Pending]
    cast: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    low: float = -INFINITE
    high: float = INFINITE

    def clipped(self, low: float, high: float) -> Bounds:
        """What a Clip leaves of them: where its ends are crossed, all is its upper one."""
        low = min(low, high)
        return Bounds(min(max(self.low, low), high), max(min(self.high, high), low))

    @property
    def open(self) -> bool:
        return self.low == -INFINITE and self.high == INFINITE


@dataclass(frozen=True, slots=True)
class Writing:
    """What a pending operator is to write: the name of the ONNX tensor, the nodes that it stands for beside its own,
    and what is cut off: stored integers, or floats."""

    name: str
    fused: tuple[str, ...]
    low: float = -INFINITE
    high: float = INFINITE


@dataclass(frozen=True, slots=True)
class Pending:
    """What an operator will write. `ints` adds it to the graph with integer output, `floats` with floats; `ints` is
    None where it has floats alone. `cuts`: the operator clips what it writes by itself, as integers, as floats.
    `biased` gives what becomes of it with a constant vector added along the last axis, None where it cannot."""

    node: str
    shape: Shape
    ints: Callable[[Encoding, Writing], At] | None
    floats: Callable[[Writing], At]
    cuts: tuple[bool, bool] = (True, True)
    fused: tuple[str, ...] = ()
    bounds: Bounds = Bounds()
    biased: Callable[[Const | Packed], Pending | None] | None = None

    def behind(self, node: str, low: float, high: float) -> Pending:
        return replace(self, fused=(*self.fused, node), bounds=self.bounds.clipped(low, high), biased=None)


Value = Const | Packed | Ints | Of | Floats | RunInts | RunScale | RunZero | RunSums | Pending
Kind = Literal["ints", "floats"]
