"""How near a quantized model's output stays to the float model's: error sums, same best class, spread of confidences.

Sample by sample, an output adds to a few sums in float64; nothing else is kept. Sums of parts merge to those of the
whole, in any order, up to the rounding of float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdsl.metrics.boxes import Floats

# Buffers small enough for the cache, pieces long enough that threads which sum side by side seldom wait for each other.
_PIECE = 1 << 17


@dataclass(slots=True)
class FidelitySums:
    """Sums over one output of two models, x of the float model and y of the quantized one: sum x^2 (`signal`), sum y^2
    (`other`), sum x y (`product`), sum (x - y)^2 (`noise`), and the `largest` |x - y|.

    For `agreement`, the best classes along `class_axis` are compared: by default axis 1, after the batch, as in
    [n, classes] and [n, classes, h, w]; None compares none. Memory does not grow with the samples, and is bounded for
    large outputs, which are summed in pieces. Figures are NaN before the first sample, outputs without elements equal.
    """

    class_axis: int | None = 1
    samples: int = 0
    elements: int = 0
    signal: float = 0.0
    other: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    same: int = 0
    choices: int = 0

    def add(self, reference: NDArray[Any], found: NDArray[Any]) -> None:
        """One sample: the float model's output and the quantized one's, of the same shape, whatever it is.

        Raises ValueError, and adds nothing, for different shapes, types that are no numbers, values that are not
        finite, and values whose squares overflow float64.
        """
        if reference.shape != found.shape:
            raise ValueError(f"outputs have shapes {list(reference.shape)} and {list(found.shape)}, expected the same")
        if reference.dtype.kind not in "fiub" or found.dtype.kind not in "fiub":
            raise ValueError(f"outputs are of types {reference.dtype} and {found.dtype}, expected numbers")
        part = FidelitySums(self.class_axis, samples=1)
        part._sum(reference.reshape(-1), found.reshape(-1))
        if not math.isfinite(part.signal + part.other + part.noise):
            if not (np.isfinite(reference).all() and np.isfinite(found).all()):
                raise ValueError("outputs hold NaN or infinity")
            raise ValueError("outputs hold values whose squares overflow")
        part._choose(reference, found)
        self.merge(part)

    def merge(self, part: FidelitySums) -> None:
        """Add what `part` has seen. Raises ValueError where it compares classes along another axis."""
        if part.class_axis != self.class_axis:
            raise ValueError(f"classes lie along axis {self.class_axis} here and {part.class_axis} there")
        self.samples += part.samples
        self.elements += part.elements
        self.signal += part.signal
        self.other += part.other
        self.product += part.product
        self.noise += part.noise
        self.largest = max(self.largest, part.largest)
        self.same += part.same
        self.choices += part.choices

    def _sum(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add two flat arrays piece by piece, through two buffers."""
        first, second = np.empty((2, min(x.size, _PIECE)))
        for start in range(0, x.size, _PIECE):
            size = min(_PIECE, x.size - start)
            first[:size], second[:size] = x[start : start + size], y[start : start + size]
            self._piece(first[:size], second[:size])
        self.elements += x.size

    def _piece(self, x: Floats, y: Floats) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused once all is summed
            signal, other = _energy(x), _energy(y)
            x -= y
            noise = _energy(x)
            self.signal += signal
            self.other += other
            self.product += 0.5 * (signal + other - noise)  # (x - y)^2 = x^2 + y^2 - 2 x y
            self.noise += noise
            self.largest = max(self.largest, float(x.max()), -float(x.min()))

    def _choose(self, reference: NDArray[Any], found: NDArray[Any]) -> None:
        axis = self.class_axis
        if axis is None or not -reference.ndim <= axis < reference.ndim or reference.shape[axis] < 2:
            return
        same = reference.argmax(axis) == found.argmax(axis)
        self.same += int(same.sum())
        self.choices += int(same.size)

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, 10 log10(sum x^2 / sum (x - y)^2) in dB: infinite when equal, minus infinity
        when only x is all zero."""
        if not self.samples:
            return math.nan
        if self.noise == 0.0:
            return math.inf
        return 10.0 * (math.log10(self.signal) - math.log10(self.noise)) if self.signal > 0.0 else -math.inf

    @property
    def cosine(self) -> float:
        """sum x y / sqrt(sum x^2 sum y^2), from -1 to 1, all samples as one vector; NaN when one is all zero."""
        if self.signal == 0.0 or self.other == 0.0:
            return math.nan
        if self.noise == 0.0:
            return 1.0
        return max(-1.0, min(1.0, self.product / math.sqrt(self.signal) / math.sqrt(self.other)))

    @property
    def mse(self) -> float:
        """The mean of (x - y)^2 over all elements, in the output's unit squared."""
        return self.noise / max(self.elements, 1) if self.samples else math.nan

    @property
    def max_error(self) -> float:
        """The largest |x - y|, in the output's unit."""
        return self.largest if self.samples else math.nan

    @property
    def agreement(self) -> float:
        """The share of choices (samples, or pixels) with the same best class; of equal scores the first is best. NaN
        where nothing was to choose: outputs without the class axis, or with a single class along it."""
        return self.same / self.choices if self.choices else math.nan


def ks_distance(ones: ArrayLike, others: ArrayLike) -> float:
    """The Kolmogorov-Smirnov distance of two samples [n] and [m], such as the confidences of two models: the largest
    difference of their empirical distribution functions, from 0 to 1.

    Raises ValueError for other shapes, empty samples, and values that are not finite. Source: Conover, Practical
    Nonparametric Statistics, section 6.3.
    """
    first, second = _sample(ones), _sample(others)
    steps = np.concatenate((first, second))
    below = [np.searchsorted(each, steps, side="right") / each.size for each in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def _sample(given: ArrayLike) -> Floats:
    values = np.asarray(given, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"a sample has shape {list(values.shape)}, expected [n] with at least one value")
    if not np.isfinite(values).all():
        raise ValueError("a sample holds NaN or infinity")
    return np.sort(values)


def _energy(values: Floats) -> float:
    """Not by np.dot, in which the order of the sum depends on the number of threads."""
    return float(np.einsum("i,i->", values, values))
