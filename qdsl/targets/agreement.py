"""How far two tensors agree, summed up sample by sample, where what cannot be compared is an answer, too."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qdsl.metrics import FidelitySums
from qdsl.targets.results import Fidelity


def _sums() -> FidelitySums:
    return FidelitySums(class_axis=None)


@dataclass(slots=True)
class Agreement:
    """The sums over everything added so far. `comparable` turns False for good at the first pair of different shape or
    with a value that is not finite."""

    samples: int = 0
    comparable: bool = True
    sums: FidelitySums = field(default_factory=_sums)

    def add(self, reference: NDArray[Any], found: NDArray[Any]) -> None:
        """One sample: the float model's tensor and the artifact's."""
        self.samples += 1
        try:
            self.sums.add(reference, found)
        except ValueError:
            self.comparable = False

    def merge(self, part: Agreement) -> None:
        """Add what `part` has seen."""
        self.samples += part.samples
        self.comparable = self.comparable and part.comparable
        self.sums.merge(part.sums)

    @property
    def sqnr_db(self) -> float | None:
        return self.sums.sqnr_db if self.comparable and self.samples else None

    @property
    def cosine(self) -> float | None:
        found = self.sums.cosine
        return found if self.comparable and not math.isnan(found) else None

    def fidelity(self, tensor: str, node: str) -> Fidelity:
        largest = self.sums.largest if self.comparable else None
        return Fidelity(tensor, node, self.sqnr_db, self.cosine, largest, self.samples)
