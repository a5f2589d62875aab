"""How far two tensors agree, summed up sample by sample: cosine and signal-to-quantization-noise ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.targets.results import Fidelity

_PIECE = 1 << 20


@dataclass(slots=True)
class Agreement:
    """Sums in float64 over everything added so far. Memory does not grow with the samples, and is bounded for large
    tensors, which are summed in pieces. `comparable` turns False for good at the first pair of different shape or with
    a value that is not finite."""

    samples: int = 0
    signal: float = 0.0
    other: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    comparable: bool = True

    def add(self, reference: NDArray[Any], found: NDArray[Any]) -> None:
        """One sample: the float model's tensor and the artifact's."""
        self.samples += 1
        if reference.shape != found.shape or reference.dtype.kind not in "fiub" or found.dtype.kind not in "fiub":
            self.comparable = False
            return
        x, y = reference.reshape(-1), found.reshape(-1)
        for start in range(0, x.size, _PIECE):
            self._piece(x[start : start + _PIECE].astype(np.float64), y[start : start + _PIECE].astype(np.float64))

    def _piece(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            self.comparable = False
            return
        # Plain sums, not np.dot: their order does not depend on the number of threads.
        self.signal += float((x * x).sum())
        self.other += float((y * y).sum())
        self.product += float((x * y).sum())
        x -= y
        self.noise += float((x * x).sum())
        self.largest = max(self.largest, float(np.abs(x).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float | None:
        if not self.comparable or not self.samples:
            return None
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal > 0.0 else -math.inf

    @property
    def cosine(self) -> float | None:
        if not self.comparable or self.signal == 0.0 or self.other == 0.0:
            return None
        return min(1.0, self.product / math.sqrt(self.signal) / math.sqrt(self.other))

    def fidelity(self, tensor: str, node: str) -> Fidelity:
        largest = self.largest if self.comparable else None
        return Fidelity(tensor, node, self.sqnr_db, self.cosine, largest, self.samples)
