"""What the values of a sample alone show: that they are all one, and that another sample holds the same ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from qdsl.data.types import Array

FEW = 16  # so few values may be equal in earnest: flags, counts, a state
_GLANCE = 16  # positions on each axis that are looked at before all are


def is_constant(values: Array, channels: int | None = None) -> bool:
    """Whether `values` are all equal or, along the axis `channels`, those of each channel are. Some of them are looked
    at first, and all of them only where those are equal. Fewer than FEW values are never constant."""
    others = [size for axis, size in enumerate(values.shape) if axis != channels]
    if math.prod(others) < FEW:
        return channels is not None and is_constant(values)
    first = values[tuple(slice(None) if axis == channels else slice(1) for axis in range(values.ndim))]
    steps = [1 if axis == channels else max(1, size // _GLANCE) for axis, size in enumerate(values.shape)]
    glance = values[tuple(slice(None, None, step) for step in steps)]
    return all(bool((part == first).all()) for part in (glance, values))


def digest(arrays: Mapping[str, Array]) -> int:
    """64 bits that samples of the same values share, and others but by chance."""
    found = hashlib.sha1(usedforsecurity=False)
    for name in sorted(arrays):
        found.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return int.from_bytes(found.digest()[:8], "little")
