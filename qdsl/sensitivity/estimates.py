"""From sums of a few samples to figures for the dataset.

A unit is measured on its share of the samples alone. How noisy a sample is with everything quantized is known of all of
them, and goes with the noise of a single unit: so the share of the one in the other is estimated, and taken of the mean
noise of the whole dataset (the ratio estimator; Cochran, Sampling Techniques, 3rd ed., 6.2 and 6.13 for its error).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qdsl.causes.errors import decibels
from qdsl.sensitivity.seen import Seen, Sums
from qdsl.sensitivity.shares import Block
from qdsl.sensitivity.units import Unit
from qdsl.spec.sensitivity import Row

_DECIBEL = 10.0 / math.log(10.0)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The sum of some figures over the sum of others, and its standard error, None of a single pair."""

    value: float
    error: float | None


def ratio(ones: Sequence[float], others: Sequence[float]) -> Ratio | None:
    """Of pairs of figures, one pair a sample; None where the others add up to nothing."""
    below = math.fsum(others)
    if below == 0.0:
        return None
    value, count = math.fsum(ones) / below, len(ones)
    if count < 2:
        return Ratio(value, None)
    left = math.fsum((one - value * other) ** 2 for one, other in zip(ones, others, strict=True))
    return Ratio(value, math.sqrt(left / (count * (count - 1))) / (below / count))


@dataclass(frozen=True, slots=True)
class Noise:
    """Sums by part as one figure: the mean of each part's noise over its mean signal on the dataset. Parts without any
    signal count only where there is no other."""

    signals: tuple[float, ...]

    @classmethod
    def of(cls, seen: Mapping[int, Seen]) -> Noise:
        count = len(seen)
        parts = zip(*(seen[index].signal for index in sorted(seen)), strict=True)
        return cls(tuple(math.fsum(each) / count for each in parts))

    def __call__(self, sums: Sums) -> float:
        pairs = list(zip(sums, self.signals, strict=True))
        heard = [(noise, signal) for noise, signal in pairs if signal > 0.0] or [(noise, 1.0) for noise, _ in pairs]
        return math.fsum(noise / signal for noise, signal in heard) / len(heard)


def rows(units: Sequence[Unit], blocks: Sequence[Block], seen: Mapping[int, Seen]) -> tuple[tuple[Row, ...], float]:
    """A row for each way of each unit, and the noise over signal of the outputs with everything quantized."""
    noise = Noise.of(seen)
    whole = {index: noise(each.whole) for index, each in sorted(seen.items())}
    mean = math.fsum(whole.values()) / len(whole)
    block_of = {at: block for block in blocks for at in block.units}
    found = []
    for at, unit in enumerate(units):
        block = block_of[at]
        gain, gain_error = _gain(at, block, seen, whole, noise)
        for n, choice in enumerate(unit.choices):
            told = (gain, gain_error) if n == 0 else (None, None)
            if choice.nothing:
                found.append(Row(unit.name, choice.name, 0.0, 0.0, math.inf, *told))
                continue
            sums = [noise(seen[index].alone.get(f"{at} {n}", _silent(seen[index]))) for index in block.samples]
            loss, error = _loss(sums, [whole[index] for index in block.samples], mean)
            found.append(Row(unit.name, choice.name, loss, error, decibels(loss), *told, samples=len(sums)))
    return tuple(found), mean


def _silent(seen: Seen) -> Sums:
    """The noise of what reaches no output."""
    return tuple(0.0 for _ in seen.signal)


def _loss(sums: Sequence[float], wholes: Sequence[float], mean: float) -> tuple[float, float | None]:
    """The noise of one way of a unit over the dataset, and its error."""
    found = ratio(sums, wholes) or ratio(sums, [1.0 for _ in sums])
    assert found is not None, "a block has samples"
    times = mean if math.fsum(wholes) else 1.0
    return found.value * times, None if found.error is None else found.error * times


def _gain(
    at: int, block: Block, seen: Mapping[int, Seen], whole: Mapping[int, float], noise: Callable[[Sums], float]
) -> tuple[float | None, float | None]:
    """What putting a unit back in float gains in dB, and its error."""
    indices = [index for index in block.samples[: block.gains] if str(at) in seen[index].without]
    if not indices:
        return (0.0, 0.0)
    found = ratio([noise(seen[index].without[str(at)]) for index in indices], [whole[index] for index in indices])
    if found is None:
        return None, None
    if found.value == 0.0:
        return math.inf, None
    error = None if found.error is None else _DECIBEL * found.error / found.value
    return decibels(found.value), error
