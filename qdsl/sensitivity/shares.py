"""Which unit is measured on which samples: each on a share of its own, so that all of them together cost a few passes
over the dataset.

Samples are drawn into blocks of nearly equal size, units into as many groups, and each group is measured on its block.
Neighbours in the graph go to different groups, so that no part of the network is seen on one block alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Passes over all samples that a measurement may come to, its two whole ones and the opening of networks among them.
BUDGET = 6.0
_WHOLE = 2.0  # passes of everything in float and of everything quantized
LEAST = 2  # samples of a unit, where there are so many: one shows no spread
_GAINS = 2  # of the samples of a unit, every so many-th is used to put it back in float


@dataclass(frozen=True, slots=True)
class Block:
    """Units (by their places) that are measured on `samples`, and put back in float on the first `gains` of these."""

    samples: tuple[int, ...]
    units: tuple[int, ...]
    gains: int


def share_of(samples: int, costs: Sequence[float], backs: Sequence[float], budget: float = BUDGET) -> int:
    """On how many samples each unit can be measured: `costs` are those of all ways of a unit on one sample, `backs` of
    putting it back in float, in passes through the whole network."""
    each = sum(costs) + sum(backs) / _GAINS
    if each <= 0.0:
        return samples
    return max(min(LEAST, samples), min(samples, int((budget - _WHOLE) * samples / each)))


def blocks(samples: int, units: int, share: int, seed: int) -> list[Block]:
    """Every sample in one block, every unit in one group, at least `share` samples in a block."""
    count = max(1, min(samples // max(1, share), units))
    draw = np.random.Generator(np.random.PCG64(seed))
    order = [int(each) for each in draw.permutation(samples)]
    offset = [int(each) for each in draw.permutation(count)]
    found = []
    for at in range(count):
        mine = sorted(order[at::count])
        group = tuple(range(offset[at], units, count))
        gains = len(mine) if count == 1 else max(min(LEAST, len(mine)), len(mine) // _GAINS)
        found.append(Block(tuple(mine), group, gains))
    return found
