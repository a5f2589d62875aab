"""What a choice keeps of its bounds, by all that was measured instead of by itself.

A metric on few samples moves by chance, and of many choices the best measured one owes most to it. But what loses more,
by the estimates, keeps less: so margins are fitted by the curve that only falls with the loss (isotonic regression,
pool adjacent violators: Ayer et al., 1955), which takes the mean of neighbours that contradict each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class Falling:
    """Blocks of one fitted margin: where each ends, rising losses, and the margins, falling."""

    ends: tuple[float, ...]
    margins: tuple[float, ...]

    def at(self, loss: float) -> float:
        """The margin that is expected of a choice with so much `loss`: infinity where nothing was measured."""
        if not self.ends:
            return float("inf")
        return self.margins[min(bisect_left(self.ends, loss), len(self.ends) - 1)]


def falling(points: Iterable[tuple[float, float]]) -> Falling:
    """The fit to (loss, margin) of what was measured; margins that are not finite tell nothing."""
    blocks: list[tuple[float, float, int]] = []  # the end, the sum of margins, how many
    for loss, margin in sorted(point for point in points if isfinite(point[1])):
        block = (loss, margin, 1)
        while blocks and (blocks[-1][0] == loss or blocks[-1][1] / blocks[-1][2] <= block[1] / block[2]):
            _, total, count = blocks.pop()
            block = (loss, block[1] + total, block[2] + count)
        blocks.append(block)
    return Falling(tuple(end for end, _, _ in blocks), tuple(total / count for _, total, count in blocks))
