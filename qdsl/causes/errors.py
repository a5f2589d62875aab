"""How far tensors and outputs are from the float model's: ratios of noise to signal, and decibels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.targets.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an output that is held against the float model's by itself: places `start` to `end` of `axis`, all of
    it where `axis` is None."""

    output: str
    axis: int | None = None
    start: int = 0
    end: int = 0

    def of(self, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        whole = values[self.output]
        if self.axis is None or self.axis >= whole.ndim:
            return whole
        return whole[(slice(None),) * self.axis + (slice(self.start, self.end),)]


Values = Mapping[str, NDArray[Any]]


def outputs_db(parts: Sequence[Part], pairs: Iterable[tuple[Values, Values]]) -> float | None:
    """The error of outputs over samples: 10 log10 of one over the mean of each part's noise over its signal. A part
    that is all zero in the float model has no signal to be held against, and counts only where there is no other. None
    where one cannot be compared: other shapes, NaN."""
    sums = [Agreement() for _ in parts]
    for expected, found in pairs:
        for part, one in zip(parts, sums, strict=True):
            one.add(part.of(expected), part.of(found))
    if not sums or not all(one.comparable and one.samples for one in sums):
        return None
    heard = [one for one in sums if one.sums.signal > 0.0] or sums
    return decibels(sum(_ratio(one.sums.noise, one.sums.signal) for one in heard) / len(heard))


def decibels(ratio: float) -> float:
    """A ratio of noise to signal as signal to noise in dB."""
    if ratio == 0.0:
        return math.inf
    return -math.inf if math.isinf(ratio) else -10.0 * math.log10(ratio)


def _ratio(noise: float, signal: float) -> float:
    if noise == 0.0:
        return 0.0
    return noise / signal if signal > 0.0 else math.inf


def lost(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """How much of a tensor is lost, as a rank to compare tensors by: the largest of noise over signal of the whole, of
    the mean channel and of the mean last axis, each channel at most once its signal. So a few channels that are gone
    count though others are larger by far. Infinite where the two cannot be compared."""
    if expected.shape != found.shape or not np.isfinite(found).all():
        return math.inf
    exact = expected.astype(np.float64)
    noise, signal = np.square(found.astype(np.float64) - exact), np.square(exact)
    whole = _ratio(float(noise.sum()), float(signal.sum()))
    axes = {axis for axis in (1, expected.ndim - 1) if 0 < axis < expected.ndim}
    return max([whole, *(_mean_channel(noise, signal, axis) for axis in axes)])


def _mean_channel(noise: NDArray[Any], signal: NDArray[Any], axis: int) -> float:
    others = tuple(each for each in range(noise.ndim) if each != axis)
    noises, signals = noise.sum(axis=others), signal.sum(axis=others)
    there = signals > 0.0
    if not there.any():
        return 0.0
    return float(np.minimum(noises[there] / signals[there], 1.0).mean())
