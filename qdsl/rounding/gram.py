"""What a layer multiplies, as sums over the data: the second moments of its patches.

A layer's output is w x for each patch x. How far integers in place of w move it follows from H = E[x x^T] alone, so
that memory does not grow with the samples.

Sums are exact, whatever adds them in whatever order: patches are first rounded to whole steps of 2^-17 of the largest
value of their sample, so that a sum of products of one sample is a whole number below 2^53; samples are added one by
one in the dataset's order. Threads of a matrix library then change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Steps up to the largest value of a sample: squares of 2^17 add up exactly in float64 over 2^19 patches.
_STEPS = 17
_COPIES = 3  # the sums of the patches that are learned from and of those held out, and one while they are added or used
Array = NDArray[np.float64]


@dataclass(slots=True)
class Gram:
    """Sums over all patches of a layer's groups: `squares` [groups, k, k] of x x^T, `sums` [groups, k] of x, and the
    number of patches."""

    squares: Array
    sums: Array
    count: int = 0

    @classmethod
    def empty(cls, groups: int, size: int) -> Gram:
        return cls(np.zeros((groups, size, size)), np.zeros((groups, size)))

    def add(self, patches: NDArray[Any]) -> None:
        """Take the patches [groups, k, patches] of one sample."""
        whole, step = _whole(patches)
        products = np.matmul(whole, whole.transpose(0, 2, 1))
        products *= step * step
        self.squares += products
        self.sums += whole.sum(axis=2) * step
        self.count += whole.shape[2]

    def moments(self, means: Array | None) -> Array:
        """E[(x - means) (x - means)^T], [groups, k, k], `means` [groups, k]; None for 0. In the memory of `squares`:
        nothing can be added any more."""
        moments = self.squares
        moments /= max(self.count, 1)
        if means is not None and self.count:
            mean = self.sums / self.count
            moments -= mean[:, :, None] * mean[:, None, :]
            moments += (mean - means)[:, :, None] * (mean - means)[:, None, :]
        return moments


@dataclass(frozen=True, slots=True)
class Parted:
    """The sums of two parts of the patches of one layer: those that integers are `learned` from, and those `held` out,
    on which integers are judged."""

    learned: Gram
    held: Gram

    @classmethod
    def empty(cls, groups: int, size: int) -> Parted:
        return cls(Gram.empty(groups, size), Gram.empty(groups, size))


def gram_bytes(groups: int, size: int) -> int:
    """What one layer's sums take at most while they are added and used."""
    return _COPIES * groups * size * size * 8


def _whole(patches: NDArray[Any]) -> tuple[Array, float]:
    """Patches in whole steps, and the step, a power of two."""
    values = np.asarray(patches, np.float64)
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0.0:
        return values, 1.0
    step = float(np.ldexp(1.0, int(np.frexp(largest)[1]) - _STEPS))
    return np.rint(values / step), step
