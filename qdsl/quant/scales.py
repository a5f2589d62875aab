"""From a range of real values to a scale and a zero point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError
from qdsl.quant.linear import FloatArray, IntArray, storage_type
from qdsl.spec import Scheme

# Two scales of this size still have a product that is a normal float32: a bias takes input scale x weight scale.
SMALLEST_SCALE = np.float32(2.0**-60)
_LARGEST_INVERSE = 1 << 20
LARGEST_FLOAT16 = 65504.0


def limits(scheme: Scheme) -> tuple[int, int]:
    """The smallest and largest integer that a scheme uses; a subset of what its type can hold.

    From 8 bits up, symmetric schemes leave out the lowest integer (-127..127, unsigned 1..255), so that a value and its
    negative are both exact; below 8 bits that one level is worth more, and it is used (-8..7). `reduce_range` halves
    the range: -64..64, or 0..127 unsigned. `emulated_bits` narrows it to that width. Of a float type: its ends, in
    steps of the scale.
    """
    bits = scheme.emulated_bits or scheme.dtype.bits
    if not scheme.dtype.quantized or bits > scheme.dtype.bits:
        raise ValueError(f"`{scheme}` has no integers")
    if not scheme.dtype.integer:
        return scheme.dtype.ends
    half = 1 << (bits - 1)
    if scheme.reduce_range:
        return (-half // 2, half // 2) if scheme.dtype.signed else (0, half - 1)
    spare = 1 if scheme.symmetric and bits >= 8 else 0
    return (spare - half, half - 1) if scheme.dtype.signed else (spare, 2 * half - 1)


def scale_zero_point(
    low: float, high: float, scheme: Scheme, *, within: tuple[float, float] | None = None, name: str = ""
) -> tuple[np.float32, int]:
    """Scale and zero point for values in [low, high], extended to hold 0, which is always exact.

    Symmetric: scale = 2 max(|low|, |high|) / (qmax - qmin), zero point 0, or the middle of an unsigned type; under 8
    bits, where one side has an integer more than the other, max(|low| / (middle - qmin), high / (qmax - middle)): no
    value saturates. Affine: scale = (high - low) / (qmax - qmin), zero_point = round_half_even(qmin - low / scale).
    Any value of [low, high] then comes back within half a scale. A range that is one point, 0, gives scale 1; a scale
    never falls under SMALLEST_SCALE. With `float16_scales` it is a number of float16, see there.

    `within` are bounds that the representable values must not leave, as a Clip before the tensor sets them: a runtime
    drops the Clip when saturation already does its work. Sides that cannot hold (they exclude 0) are passed over, and
    so are schemes that do not use their whole type. The values nearest the bounds may then be a full scale off.

    Raises QdslError (range-not-finite) that names `name`, ValueError when low > high.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise QdslError([_not_finite(name, low, high)])
    scales, zeros = spread(np.asarray(low, np.float64), np.asarray(high, np.float64), scheme)
    scale, zero = np.float32(scales), int(zeros)
    whole = (scheme.dtype.qmin, scheme.dtype.qmax)
    if within is None or limits(scheme) != whole:
        return scale, zero
    return _draw_in(scale, zero, limits(scheme), within), zero


def float16_scales(scales: NDArray[Any]) -> FloatArray:
    """Each float32 scale as the nearest number of float16 that is not below it, so that no value is cut off: at most
    1/1024 wider from 2^-14 up, and by one step of float16, 2^-24, below. What is past 65504 comes out infinite.

    A scale of 2^-24, the smallest, has the steps that float16 itself has for values this small.
    """
    with np.errstate(over="ignore"):
        half = np.asarray(scales, np.float32).astype(np.float16)
        below = half.astype(np.float32) < scales
        half = np.where(below, np.nextafter(half, np.float16(np.inf)), half)
    return np.asarray(half, np.float32)


def whole_inverse(scale: np.float32) -> np.float32:
    """The float32 next to `scale` whose inverse in float32 is a whole number, rounded down but for a last bit: a kernel
    that multiplies by floor(1 / scale) then divides by the scale. Scales over 1 stay as they are."""
    steps = math.floor(1.0 / float(scale) * (1.0 + 2.0**-20))
    if not 1 <= steps <= _LARGEST_INVERSE:
        return scale
    found = np.float32(1.0 / steps)
    while np.floor(np.float32(1) / found) < steps:
        found = np.nextafter(found, np.float32(0))
    return found


def spread(
    low: NDArray[Any], high: NDArray[Any], scheme: Scheme, ends: tuple[int, int] | None = None
) -> tuple[FloatArray, IntArray]:
    """`scale_zero_point` for many finite ranges at once: float32 scales and zero points in the storage type. `ends`:
    the integers to use, those of the scheme by default."""
    if np.any(low > high):
        raise ValueError("a range has its ends in the wrong order")
    qmin, qmax = ends or limits(scheme)
    low64 = np.minimum(np.asarray(low, np.float64), 0.0)
    high64 = np.maximum(np.asarray(high, np.float64), 0.0)
    middle = 0 if scheme.dtype.signed else (qmin + qmax + 1) // 2
    width = _steps(low64, high64, scheme, (middle - qmin, qmax - middle))
    scale = np.maximum(width, float(SMALLEST_SCALE)).astype(np.float32)
    scale = np.where(width == 0.0, np.float32(1.0), scale)
    scale = float16_scales(scale) if scheme.float16_scales else scale
    if scheme.symmetric:
        zero = np.full(scale.shape, middle)
    else:
        zero = np.clip(np.rint(qmin - low64 / scale.astype(np.float64)), qmin, qmax)
    return np.asarray(scale, np.float32), np.asarray(zero, storage_type(scheme.dtype))


def _steps(
    low: NDArray[np.float64], high: NDArray[np.float64], scheme: Scheme, sides: tuple[float, float]
) -> NDArray[np.float64]:
    """The scale of each range. `sides`: how many integers lie below and above the middle.

    Of 16 levels one side has 8 and the other 7: a scale of 2 max / 15 would take half a step off the largest value
    above the middle, and a channel or block of few values has little else.
    """
    below, above = sides
    if not scheme.symmetric:
        return np.asarray((high - low) / (below + above))
    if (scheme.emulated_bits or scheme.dtype.bits) < 8 and min(sides) > 0:
        return np.maximum(-low / below, high / above)
    return np.asarray(2 * np.maximum(-low, high) / (below + above))


def _draw_in(scale: np.float32, zero: int, ends: tuple[int, int], within: tuple[float, float]) -> np.float32:
    """The largest float32 scale, at most `scale`, that keeps every representable value inside `within`."""
    below, above = zero - ends[0], ends[1] - zero
    low, high = np.float32(within[0]), np.float32(within[1])
    if below > 0 and low < 0 and np.isfinite(low):
        scale = min(scale, np.float32(-low / np.float32(below)))
        while np.float32(below) * scale > -low:
            scale = np.nextafter(scale, np.float32(0))
    if above > 0 and high > 0 and np.isfinite(high):
        scale = min(scale, np.float32(high / np.float32(above)))
        while np.float32(above) * scale > high:
            scale = np.nextafter(scale, np.float32(0))
    return max(scale, SMALLEST_SCALE)


def _not_finite(name: str, low: float, high: float) -> Diagnostic:
    return Diagnostic(
        "range-not-finite",
        f"the range of tensor `{name}` is not finite",
        label=f"[{low:g}, {high:g}]",
        help=("look for the first layer whose values overflow, or set the range by hand: `range [lo, hi]`",),
    )
