"""Factors that give the channels between layers weights of alike ranges, on both sides of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# A channel whose weights are smaller than this part of the layer's largest counts as if they were that large. A channel
# that hardly varies would else be spread over all levels, and its constant over many times the range of the others.
FLOOR = 1 / 64
_SETTLED = 0.05  # ranges that differ by less round alike
_SWEEPS = 100

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """The largest absolute weight [groups, outputs / groups, inputs / groups] between channels."""

    largest: Values

    @property
    def inputs(self) -> int:
        return int(self.largest.shape[0] * self.largest.shape[2])

    def writes(self, before: Values) -> Values:
        """The range of the weights of each output channel, inputs multiplied by `before` [inputs]."""
        groups, _, each = self.largest.shape
        found: Values = (self.largest * before.reshape(groups, 1, each)).max(2, initial=0).reshape(-1)
        return found

    def reads(self, after: Values) -> Values:
        """The range of the weights of each input channel, outputs divided by `after` [outputs]."""
        groups, each, _ = self.largest.shape
        found: Values = (self.largest / after.reshape(groups, each, 1)).max(1, initial=0).reshape(-1)
        return found


class Link(NamedTuple):
    """Layers by number: what `before` writes `behind` reads, each channel as `repeat` inputs side by side."""

    before: int
    behind: int
    repeat: int = 1


def factors(layers: Sequence[Layer], links: Sequence[Link]) -> list[Values]:
    """Per link the s [channels] to divide the channels by, from 1 on, so that no value grows: 1 is the least of those
    channels that vary (`FLOOR`), and of all others.

    Cross-layer equalization (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction,
    section 4.1, equation 11): s_i = sqrt(r1_i r2_i) / r2_i = sqrt(r1_i / r2_i) with the ranges of the weights that
    write and read channel i, over all links in turn until ranges settle. Links in the order of the graph; a layer is
    behind one of them at most, and before one at most. Square roots and divisions alone: the same bits on every
    machine.
    """
    found = [np.ones(layers[link.before].largest.shape[0] * layers[link.before].largest.shape[1]) for link in links]
    into = {link.behind: number for number, link in enumerate(links)}
    out = {link.before: number for number, link in enumerate(links)}
    floors = [FLOOR * float(layer.largest.max(initial=0)) for layer in layers]

    def scale(link: Link) -> Values:
        first, second = layers[link.before], layers[link.behind]
        before = into.get(link.before)
        scaled = np.ones(first.inputs) if before is None else np.repeat(found[before], links[before].repeat)
        written = first.writes(scaled)
        r1 = np.maximum(written, floors[link.before])
        after = out.get(link.behind)
        outputs = second.largest.shape[0] * second.largest.shape[1]
        r2 = second.reads(np.ones(outputs) if after is None else found[after]).reshape(-1, link.repeat).max(1)
        r2 = np.maximum(r2, floors[link.behind])
        if not (r1.all() and r2.all()):
            return np.ones(r1.size)
        s = np.sqrt(r1 / r2)
        least = s[written >= floors[link.before]].min(initial=s.max())
        even: Values = np.maximum(s / least, 1)
        return even

    for _ in range(_SWEEPS):
        moved = 0.0
        for number, link in enumerate(links):
            new = scale(link)
            moved = max(moved, float(np.abs(new / found[number] - 1).max(initial=0)))
            found[number] = new
        if moved < _SETTLED:
            break
    return found


def layer_of(weights: NDArray[Any]) -> Layer:
    """The layer of weights [groups, outputs / groups, inputs / groups, elements]."""
    return Layer(np.abs(weights).max(3, initial=0).astype(np.float64))
