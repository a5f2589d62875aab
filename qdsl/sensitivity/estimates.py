"""From sums of a few samples to figures for the dataset.

A unit is measured on its share of the samples alone. By how much its noise goes with the signal of the outputs, part by
part, is estimated on them: a ratio of two sums, so that what makes outputs loud on some samples makes no difference
(the ratio estimator; Cochran, Sampling Techniques, 3rd ed., 6.2 and 6.4 for its error).
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


def noise_ratio(noises: Sequence[Sums], signals: Sequence[Sums]) -> Ratio:
    """The mean over the parts of the outputs of noise over signal, each the sum over samples. Parts without any signal
    count only where there is no other, and then as noise."""
    parts = list(zip(zip(*noises, strict=True), zip(*signals, strict=True), strict=True))
    heard = [part for part in parts if math.fsum(part[1]) > 0.0] or [(one, (1.0,) * len(one)) for one, _ in parts]
    count, ratios = len(noises), [math.fsum(one) / math.fsum(other) for one, other in heard]
    value = math.fsum(ratios) / len(heard)
    if count < 2:
        return Ratio(value, None)
    left = [0.0] * count
    for (one, other), each in zip(heard, ratios, strict=True):
        mean = math.fsum(other) / count
        for at in range(count):
            left[at] += (one[at] - each * other[at]) / mean / len(heard)
    return Ratio(value, math.sqrt(math.fsum(each * each for each in left) / (count * (count - 1))))


def rows(units: Sequence[Unit], blocks: Sequence[Block], seen: Mapping[int, Seen]) -> tuple[tuple[Row, ...], float]:
    """A row for each way of each unit, and the noise over signal of the outputs with everything quantized."""
    block_of = {at: block for block in blocks for at in block.units}
    found = []
    for at, unit in enumerate(units):
        block = block_of[at]
        gain, gain_error = _gain(at, block, seen)
        for n, choice in enumerate(unit.choices):
            told = (gain, gain_error) if n == 0 else (None, None)
            if choice.nothing:
                found.append(Row(unit.name, choice.name, 0.0, 0.0, math.inf, *told))
                continue
            here = [seen[index] for index in block.samples]
            loss = noise_ratio([each.alone.get(f"{at} {n}", _silent(each)) for each in here], [o.signal for o in here])
            dbs = decibels(loss.value)
            found.append(Row(unit.name, choice.name, loss.value, loss.error, dbs, *told, samples=len(here)))
    every = [seen[index] for index in sorted(seen)]
    return tuple(found), noise_ratio([each.whole for each in every], [each.signal for each in every]).value


def _silent(seen: Seen) -> Sums:
    """The noise of what reaches no output."""
    return tuple(0.0 for _ in seen.signal)


def _gain(at: int, block: Block, seen: Mapping[int, Seen]) -> tuple[float | None, float | None]:
    """What putting a unit back in float gains in dB, and its error."""
    if not block.gains:
        return None, None
    here = [seen[index] for index in block.samples[: block.gains] if str(at) in seen[index].without]
    if not here:
        return 0.0, 0.0
    shares = _shares([each.signal for each in here])
    left = [shares(each.without[str(at)]) for each in here]
    found = ratio(left, [shares(each.whole) for each in here])
    if found is None:
        return None, None
    if found.value == 0.0:
        return math.inf, None
    error = None if found.error is None else _DECIBEL * found.error / found.value
    return decibels(found.value), error


def _shares(signals: Sequence[Sums]) -> Callable[[Sums], float]:
    """Noise by part as one figure, each part over its mean signal."""
    means = [math.fsum(part) / len(signals) for part in zip(*signals, strict=True)]
    heard = [at for at, mean in enumerate(means) if mean > 0.0]

    def figure(noise: Sums) -> float:
        return math.fsum(noise[at] / means[at] for at in heard) if heard else math.fsum(noise)

    return figure
