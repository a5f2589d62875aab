"""What calibration is asked for: one method per tensor, or per tensor and axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

EXTREMES = ("minmax", "mean_minmax")
COUNTED = ("entropy", "percentile", "mse", "auto")


@dataclass(frozen=True, slots=True)
class Rows:
    """Something reads `tensor` in rows along `axis`, of each only what is not `margin` below the largest."""

    tensor: str
    axis: int
    margin: float


@dataclass(frozen=True, slots=True)
class Request:
    """The range of `tensor` by `method`: minmax, mean_minmax, entropy, mse, percentile (with `percentile`, its P), or
    auto, which gives those of all methods to choose from.

    `symmetric`: values will be stored around 0, or the percentile is one of absolute values. `levels` is the number
    of integers that the scheme has; entropy and mse depend on it. `axis`, counted from 0, asks for one range for each
    slice along it (per channel); counting then takes 512 KiB for each slice.

    Values below `low` and above `high` count as these, and so do those that lie `margin` below the largest of their
    row, for each of `rows`. `masked`: minus infinity counts as the lowest float.
    """

    tensor: str
    method: str = "minmax"
    percentile: float | None = None
    symmetric: bool = False
    levels: int = 256
    axis: int | None = None
    low: float = -math.inf
    high: float = math.inf
    rows: tuple[Rows, ...] = ()
    masked: bool = False

    @property
    def counted(self) -> bool:
        """Whether the method looks at the distribution and not only at the ends."""
        return self.method in COUNTED

    def __str__(self) -> str:
        words = [self.method]
        if self.percentile is not None:
            words.append(f"{self.percentile:g}")
            words += ["symmetric"] if self.symmetric else []
        return " ".join(words)
