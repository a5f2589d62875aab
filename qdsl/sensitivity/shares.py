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
BUDGET = 5.0
_WHOLE = 2.0  # passes of everything in float and of everything quantized
LEAST = 2  # samples of a unit, where there are so many: one shows no spread
_GAINS = 3  # of the samples of a unit, one in so many is used to put it back in float


@dataclass(frozen=True, slots=True)
class Block:
    """Units (by their places) that are measured on `samples`, and put back in float on the first `gains` of these."""

    samples: tuple[int, ...]
    units: tuple[int, ...]
    gains: int


def share_of(samples: int, costs: Sequence[float], backs: Sequence[float], budget: float = BUDGET) -> int:
    """On how many samples each unit can be measured: `costs` are those of all ways of a unit on one sample, `backs` of
    putting it back in float (none where that is not asked), in passes through the whole network."""
    ahead, back = sum(costs), sum(backs)
    fitting = (
        share
        for share in range(samples, LEAST, -1)
        if share * ahead + gains_of(share, samples) * back <= (budget - _WHOLE) * samples
    )
    return next(fitting, min(LEAST, samples))


def gains_of(share: int, samples: int) -> int:
    """On how many samples of its share a unit is put back in float: on all of them where that is every sample."""
    return share if share == samples else max(min(LEAST, share), share // _GAINS)


def blocks(samples: int, units: int, share: int, seed: int, *, gains: bool = True) -> list[Block]:
    """Every sample in one block, every unit in one group, at least `share` samples in a block; with `gains` or
    without."""
    count = max(1, min(samples // max(1, share), units))
    draw = np.random.Generator(np.random.PCG64(seed))
    order = [int(each) for each in draw.permutation(samples)]
    offset = [int(each) for each in draw.permutation(count)]
    found = []
    for at in range(count):
        mine = sorted(order[at::count])
        group = tuple(range(offset[at], units, count))
        found.append(Block(tuple(mine), group, gains_of(len(mine), samples) if gains else 0))
    return found
