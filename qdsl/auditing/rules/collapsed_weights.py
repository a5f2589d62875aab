"""Weights with one scale per tensor, of which some channels are rounded away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.auditing.weights import Channels, channels
from qdsl.diag import Severity
from qdsl.spec import Granularity
from qdsl.spec.words import count

_GRAVE = 1 / 3  # of the channels; quantization-aware training leaves up to 0.28 behind, and has learnt with that
_APART = 100.0  # times that the largest channel is larger, at least


class Check:
    id: ClassVar[str] = "collapsed_weights"
    summary: ClassVar[str] = "with one scale for all of a weight, some channels keep no more than -1, 0 and 1"
    explanation: ClassVar[str] = (
        "Where channels of a weight differ a hundred times in size, one scale for all of them leaves the small ones "
        "-1, 0 and 1, or nothing. Depthwise convolutions with a folded batch normalization are the usual case: "
        "MobileNetV1 x0.25 has top-1 0.592 in float, 0.547 with a scale per channel and 0.001 with one per tensor. "
        "Channels of nothing but zeros are not counted alone: training may have switched them off."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for weight in channels(audited).values():
            lost, empty = _lost(weight)
            if lost:
                yield self._told(weight, lost + empty)

    def _told(self, weight: Channels, lost: int) -> Finding:
        grave = lost >= weight.furthest.size * _GRAVE
        kind = "depthwise weight" if weight.depthwise else "weight"
        return Finding(
            self.id,
            Severity.WARNING if grave else Severity.NOTE,
            Place("node", weight.node.name, weight.port),
            f"of the {kind} of {shown(weight.node.name)}, {lost} of {count(weight.furthest.size, 'channel')} keep no "
            "more than -1, 0 and 1",
            "one scale for the whole tensor is made for its largest channel; a scale per channel keeps all of them",
            fix=recipe_lines("layers {} { weights int8 symmetric per_channel }", weight.node.name),
            origin="" if weight.record is None else weight.record.origin,
        )


def _lost(weight: Channels) -> tuple[int, int]:
    """How many channels are rounded to next to nothing, and to nothing."""
    record = weight.record
    if record is None or record.parameters.granularity is not Granularity.PER_TENSOR or not weight.furthest.size:
        return 0, 0
    kept = weight.furthest
    if kept.max() < _APART:
        return 0, 0
    return int((kept == 1).sum()), int((kept == 0).sum())
