"""Scales made for far more than the tensor holds."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import ClassVar

import numpy as np

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.joined import joined
from qdsl.auditing.magnitudes import Fit, fits
from qdsl.auditing.reach import reaches
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.auditing.weights import Channels, channels
from qdsl.diag import Severity
from qdsl.finished.codes import span
from qdsl.finished.records import QuantizedTensor
from qdsl.predict.bounds import Interval
from qdsl.spec import DTYPES, Granularity

_QUARTER = 0.25  # of the integers: two bits of eight are lost
_TOLD_WIDE = 64  # elements
_FEWEST = 8  # bits: of fewer, none are to spare
_APART = 7.0  # a healthy file has under 4.7


class Check:
    id: ClassVar[str] = "unused_range"
    summary: ClassVar[str] = "a scale is made for far more than its tensor holds: most integers are never used"
    explanation: ClassVar[str] = (
        "A scale that is four times too wide costs two bits of eight, 12 dB. Of weights the integers themselves show "
        "it: none further than a quarter of the way from the zero point. Of activations it is told where the file's "
        "own scales and weights bound what the tensor can hold (nothing over 1 after a Sigmoid), or where the range "
        "is over seven times what the node before gives and those behind were made for. It comes from a scale taken "
        "over from another tensor, from outliers in the calibration data, or from other data than the model was "
        "trained on. Seven bits of eight on purpose (NNCF's first convolution, reduce_range) and the half that a "
        "symmetric type leaves behind a Relu are not meant."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for weight in channels(audited).values():
            yield from self._weight(weight)
        for fit in fits(audited):
            if not joined(audited, fit.record):
                yield from self._activation(audited, fit)

    def _weight(self, weight: Channels) -> Iterator[Finding]:
        record = weight.record
        most = None if record is None else _furthest(record)
        if record is None or most is None or not weight.furthest.size:
            return
        alive = weight.furthest[weight.furthest > 0]
        of_all = np.max if record.parameters.granularity is Granularity.PER_TENSOR else np.median
        used = float(of_all(alive)) if alive.size else most
        if used >= most * _QUARTER or _fits_four_bits(weight, used):
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", weight.node.name, weight.port),
            f"the weight of {shown(weight.node.name)} uses integers up to {used:.0f} of {most:.0f}",
            f"its scale is {most / used:.2g} times wider than it has to be: {np.log2(most / used):.1f} bits are lost",
            fix=recipe_lines("layers {} { weights int8 symmetric per_channel }", weight.node.name),
            origin=record.origin,
        )

    def _activation(self, audited: Audited, fit: Fit) -> Iterator[Finding]:
        held = span(fit.record.parameters)
        bits = DTYPES[fit.record.parameters.element].bits
        if held is None or bits < _FEWEST or fit.clipped_input:
            return
        can = reaches(audited)[audited.finished.view.node(fit.record.quantizers[0]).inputs[0]]
        share = _share(can, held)
        around = fit.written is not None and fit.read is not None and fit.written > _APART and fit.read < 1 / _APART
        if not around and (share is None or share >= _QUARTER):
            return
        why = (
            f"what stands before and behind it is made for about a {fit.written:.0f}th of that"
            if around
            else f"it holds [{can[0]:.3g}, {can[1]:.3g}] at most, by the scales and weights before it"
        )
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("tensor", fit.record.tensor),
            f"the scale of {shown(fit.record.tensor)} is made for [{held[0]:.3g}, {held[1]:.3g}]: little is used",
            why,
            fix=recipe_lines("layers tensor {} { calibrate percentile 99.99 }", fit.record.tensor),
            origin=fit.record.origin,
        )


def _fits_four_bits(weight: Channels, used: float) -> bool:
    """Whether such a weight is told to be one of four bits (`stored_wide`)."""
    return used < 1 << 3 and prod(weight.shape) >= _TOLD_WIDE


def _furthest(record: QuantizedTensor) -> float | None:
    """How far from the zero point an integer of the type can be; None for types of other
    widths: of fewer bits none are to spare, and 8 in more are told elsewhere (`stored_wide`)."""
    known = record.parameters
    dtype = DTYPES.get(known.element)
    if dtype is None or dtype.qmin is None or dtype.qmax is None or known.low is not None or known.high is not None:
        return None
    if dtype.bits != _FEWEST:
        return None
    zero = 0.0 if known.zero_point is None else float(np.median(known.zero_point))
    return dtype.qmax if dtype.signed and not zero else max(dtype.qmax - zero, zero - dtype.qmin)


def _share(can: Interval, held: Interval) -> float | None:
    """The part of a range that a tensor can use, 0 counted in; None where nothing is known."""
    low, high = min(can[0], 0.0), max(can[1], 0.0)
    if not np.isfinite([low, high]).all() or low == high == 0.0:
        return None
    return float((min(high, held[1]) - max(low, held[0])) / (held[1] - held[0]))
