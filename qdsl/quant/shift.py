"""How far rounded weights move the mean of what a layer writes."""

from __future__ import annotations

from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_shift(error: NDArray[Any], means: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of conv(x, error), per output channel: E[y'] - E[y] = error E[x] (Nagel et al. 2019, Data-Free
    Quantization Through Weight Equalization and Bias Correction, section 4.2). Padding at the border is left out.

    `error` [outputs, inputs / groups, ...] is stored minus float weights, `means` [inputs] those of the input channels;
    the groups follow from the two. Sums are exactly rounded, so the result has the same bits on every machine. Raises
    ValueError where the shapes do not fit.
    """
    if error.ndim < 2 or means.ndim != 1 or not error.shape[1] or means.size % error.shape[1]:
        raise ValueError(f"weights of shape {list(error.shape)} do not fit {list(means.shape)} means")
    groups = means.size // error.shape[1]
    if not groups or error.shape[0] % groups:
        raise ValueError(f"{error.shape[0]} outputs do not fit {groups} groups")
    each = error.shape[0] // groups
    parts = error.astype(np.float64).reshape(error.shape[0], error.shape[1], -1)
    inputs = means.astype(np.float64).reshape(groups, error.shape[1], 1)
    return np.array([fsum((parts[o] * inputs[o // each]).ravel().tolist()) for o in range(error.shape[0])])
