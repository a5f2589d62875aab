"""The outcome of a calibration: a range per tensor, exact in text form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from numpy.typing import NDArray

from qdsl.calibrate.candidates import Candidate
from qdsl.diag import Diagnostic, QdslError
from qdsl.spec import WeightKey
from qdsl.spec.bounds import Count, UnfitError, Via
from qdsl.spec.decode import decode, json_data


@dataclass(frozen=True, slots=True)
class Ranges:
    """Smallest and largest value of each tensor, in its real values, by tensor name in sorted order.

    `samples` counts what was measured. `settled_after` is the number of samples, in dataset order, after which no
    sample widened any range by more than 1 % of the width it had: a hint whether more data would change the scales.
    `methods` says how each range was found ("minmax", "percentile 99.99"), where that is known. `flat` are the numbers
    of the samples that show nothing (a picture of one colour, values that are all one), `copies` those that hold the
    values of an earlier one, with its number, and `channels` ranges (low, high) by tensor and axis, one for each slice
    along it; these three are not written to text. Neither are `means`: the mean of each channel (axis 1) of the tensors
    whose readers get a corrected bias; nor `tried`: what `auto` chooses from, and took in `chosen`, by tensor; nor
    `rounded`: the integers of weights that `round` chose.
    """

    low: Mapping[str, float]
    high: Mapping[str, float]
    samples: int
    settled_after: int
    methods: Mapping[str, str] = field(default_factory=dict)
    flat: tuple[int, ...] = ()
    copies: tuple[tuple[int, int], ...] = ()
    channels: Mapping[tuple[str, int], tuple[tuple[float, float], ...]] = field(default_factory=dict)
    means: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tried: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)
    rounded: Mapping[WeightKey, NDArray[Any]] = field(default_factory=dict, compare=False)

    def merge(self, other: Ranges) -> Ranges:
        """The ranges of both sets of samples together. Settling is not known of a union: it counts all samples."""
        names = sorted({*self.low, *other.low})
        inf = math.inf
        low = {n: min(self.low.get(n, inf), other.low.get(n, inf)) for n in names}
        high = {n: max(self.high.get(n, -inf), other.high.get(n, -inf)) for n in names}
        total = self.samples + other.samples
        return Ranges(low, high, total, total, {**self.methods, **other.methods})

    def to_json(self, rows: Mapping[str, str] | None = None) -> str:
        """Sorted JSON, one tensor a line; every number reads back to the same bits. `rows` are others to be written for
        the tensors."""
        told = rows or {}
        lines = [f"    {json.dumps(name)}: {told.get(name) or self.row(name)}" for name in sorted(self.low)]
        body = ",\n".join(lines)
        head = f'  "samples": {self.samples},\n  "settled_after": {self.settled_after},\n'
        return "{\n" + head + '  "tensors": {' + (f"\n{body}\n  " if lines else "") + "}\n}\n"

    def how(self, name: str) -> str:
        """How the range of one tensor was found, and what `auto` took: "auto on calib: mse"; "" where not known."""
        chosen = f": {self.chosen[name]}" if name in self.chosen else ""
        return self.methods[name] + chosen if name in self.methods else ""

    def row(self, name: str) -> str:
        """What JSON says of one tensor."""
        words = self.how(name)
        method = f", {json.dumps(words)}" if words else ""
        return f"[{float(self.low[name])!r}, {float(self.high[name])!r}{method}]"

    @staticmethod
    def from_json(text: str) -> Ranges:
        """What `to_json` wrote. Raises QdslError `calibration-ranges` for any other text."""
        try:
            found = decode(_Stored, json_data(text))
        except UnfitError as error:
            headline, label = "this is not a file of calibrated ranges", str(error)[:300]
            raise QdslError([Diagnostic("calibration-ranges", headline, label=label)]) from None
        told = dict(sorted(found.tensors.items()))
        low = {name: each for name, (each, _, _) in told.items()}
        high = {name: each for name, (_, each, _) in told.items()}
        methods = {name: each for name, (_, _, each) in told.items() if each is not None}
        return Ranges(low, high, found.samples, found.settled_after, methods)


_Row = tuple[float, float, str | None]  # low, high, method


def _row(found: Sequence[Any]) -> _Row:
    low, high, method = decode(tuple[float, float, str | None], [*found, None] if len(found) == 2 else list(found))
    if low > high:
        raise ValueError("expected a range that does not fall")
    return low, high, method


@dataclass(frozen=True, slots=True)
class _Stored:
    samples: Count
    settled_after: Count
    tensors: dict[str, Annotated[_Row, Via(tuple[Any, ...], _row)]]
