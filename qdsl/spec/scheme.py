"""How one tensor is stored as integers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qdsl.spec.dtypes import DType


class Granularity(Enum):
    """How many scales a tensor has: one, one per channel, or one per block of a channel."""

    PER_TENSOR = "per_tensor"
    PER_CHANNEL = "per_channel"
    PER_BLOCK = "per_block"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A complete quantization scheme: nothing left to choose but scale and zero point.

    `block` is the number of elements that share a scale (PER_BLOCK only). `emulated_bits` is set for a width between
    stored types (`6 bit` in an int8): an explicit Clip narrows the stored range to it. `reduce_range` is ONNX Runtime's
    -64..64 (0..127 unsigned). `storage_only` marks a width that the target stores but does not compute in.
    `float16_scales`: every scale is a number that float16 holds, so that QuantizeLinear may read float16 and
    DequantizeLinear write it.
    """

    dtype: DType
    symmetric: bool
    granularity: Granularity = Granularity.PER_TENSOR
    block: int | None = None
    reduce_range: bool = False
    storage_only: bool = False
    emulated_bits: int | None = None
    float16_scales: bool = False

    @property
    def width(self) -> str:
        """The stored type, and the width that is emulated in it."""
        emulated = f" as {self.emulated_bits} bit (emulated)" if self.emulated_bits else ""
        return f"{self.dtype.name}{emulated}"

    def __str__(self) -> str:
        words = [self.dtype.name]
        if self.dtype.quantized:
            words += ["symmetric" if self.symmetric else "affine", self.granularity.value]
            words += [str(self.block)] if self.block else []
            words += ["reduce_range"] if self.reduce_range else []
            words += [f"as {self.emulated_bits} bit (emulated)"] if self.emulated_bits else []
        words += ["storage_only"] if self.storage_only else []
        words += ["with float16 scales"] if self.float16_scales else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Guard:
    """What the integers of a weight keep to, so that every CPU that the target names adds their products exactly.

    `pairs` are the axes of the stored weight over which a kernel sums, the slowest first, where some CPU takes the
    products of that sum two by two in saturating int16 (x86 without VNNI); () where none does. `lowest`: the lowest
    integer of the type is left out, since the product of two lowest ones wraps (Arm without dot product).
    """

    pairs: tuple[int, ...] = ()
    lowest: bool = False

    def __bool__(self) -> bool:
        return bool(self.pairs) or self.lowest


UNGUARDED = Guard()


@dataclass(frozen=True, slots=True)
class WeightKey:
    """What makes two uses of a constant the same stored integers. `axis` counts from 0."""

    tensor: str
    scheme: Scheme
    axis: int | None
    guard: Guard = UNGUARDED

    @property
    def how(self) -> str:
        """All but the tensor in words, for a lock: "int8 symmetric per_channel along 0, pairs 1 2 3"."""
        along = "" if self.axis is None else f" along {self.axis}"
        pairs = f", pairs {' '.join(map(str, self.guard.pairs))}" if self.guard.pairs else ""
        return f"{self.scheme}{along}{pairs}{', without the lowest' if self.guard.lowest else ''}"
