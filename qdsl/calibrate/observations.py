"""Everything remembered of the samples seen so far. Parts of a dataset merge to the whole, in any order, exactly."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate.candidates import Candidate, candidates, least_error
from qdsl.calibrate.channels import Slices, is_top, names_of, slice_name, top_name
from qdsl.calibrate.extremes import Entry, Means, Records, span
from qdsl.calibrate.histogram import BINS, Counts, Distribution, count, from_counts
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.request import Request
from qdsl.calibrate.thresholds import find
from qdsl.calibrate.ways import Look, Ways
from qdsl.diag import Diagnostic, Placed, QdslError, Span
from qdsl.spec.bounds import Count, Many, UnfitError, Via
from qdsl.spec.decode import decode, json_data, require_version

_SETTLED = 0.01
_VERSION = 3
_LARGEST = 1 << 30  # characters of a part as text
Extremes = Mapping[str, tuple[float, float]]


@dataclass
class Observations(Placed):
    """Of `total` samples those in `done` have been seen. `key` says of which model, tensors and data, so that only
    parts of one calibration are merged. `records` and `counts` are by measured tensor, `means` by wanted tensor; `flat`
    are the samples that show nothing, and `digests` [total] tell samples of equal values (0 for one not seen).
    `span` is the place of the dataset."""

    key: str
    total: int
    done: set[int] = field(default_factory=set)
    records: dict[str, Records] = field(default_factory=dict)
    means: dict[str, Means] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    flat: set[int] = field(default_factory=set)
    digests: NDArray[np.uint64] = field(init=False)
    span: Span | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self.digests = np.zeros(self.total, np.uint64)

    def add(self, index: int, seen: Extremes, look: Look) -> None:
        """Take in the range of every measured tensor in one sample; its values are counted apart."""
        self.done.add(index)
        for name, (low, high) in seen.items():
            self.records.setdefault(name, Records()).add(index, low, high)
        for name in look.averaged:
            self.means.setdefault(name, Means()).add(*span(look.extremes.parts[name], seen))

    def add_tops(self, index: int, tops: Mapping[tuple[str, int], float]) -> None:
        """Take in the smallest of the largest values of the rows in one sample, by tensor and axis."""
        for (tensor, axis), top in tops.items():
            self.records.setdefault(top_name(tensor, axis), Records()).add(index, top, top)

    def add_slices(self, index: int, request: Request, found: Slices) -> None:
        """Take in one sample of a tensor that is asked for along an axis, as [slices, elements]."""
        if not found.size:
            return
        assert request.axis is not None
        for number, values in enumerate(found):
            name = slice_name(request.tensor, request.axis, number)
            low, high = float(values.min()), float(values.max())
            self.records.setdefault(name, Records()).add(index, low, high)
            if request.method == "mean_minmax":
                self.means.setdefault(name, Means()).add(low, high)
            if request.counted:
                count(values, self.counters(name))

    def counters(self, tensor: str) -> Counts:
        return self.counts.setdefault(tensor, np.zeros(BINS, np.int64))

    def merge(self, other: Observations) -> None:
        """Take in another part. Raises QdslError `calibration-parts` for parts that do not belong together or
        overlap."""
        if self.key != other.key or self.total != other.total or self.done & other.done:
            why = "share samples" if self.key == other.key else "are of different calibrations"
            raise self.error("calibration-parts", f"these two parts {why}")
        self.done |= other.done
        self.flat |= other.flat
        self.digests |= other.digests
        for name, records in other.records.items():
            self.records.setdefault(name, Records()).merge(records)
        for name, means in other.means.items():
            self.means.setdefault(name, Means()).merge(means)
        for name, counts in other.counts.items():
            counters = self.counters(name)
            counters += counts

    def ranges(self, ways: Ways) -> Ranges:
        """The range of every request of one who asks. Raises QdslError `calibration-parts` when samples are missing."""
        if len(self.done) != self.total:
            raise self.error("calibration-parts", f"only {len(self.done)} of {self.total} samples have been seen")
        whole = {name: (records.low, records.high) for name, records in self.records.items()}
        counted = {name: Distribution((from_counts(self.counts[name], *whole[name]),)) for name in ways.sources.counted}
        tried = {r.tensor: self._tried(r, ways, counted) for r in ways.requests if r.method == "auto"}
        found = {
            r.tensor: _ends(tried[r.tensor]) if r.tensor in tried else self._range(r, ways, whole, counted)
            for r in ways.requests
        }
        kept = (records for name, records in self.records.items() if not is_top(name))
        settled = max((records.settled(_SETTLED) for records in kept), default=0)
        names = sorted(found)
        return Ranges(
            {name: found[name][0] for name in names},
            {name: found[name][1] for name in names},
            self.total,
            settled,
            {request.tensor: str(request) for request in sorted(ways.requests, key=lambda r: r.tensor)},
            tuple(sorted(self.flat)),
            self._copies(),
            {(r.tensor, r.axis): self._slices(r, whole) for r in ways.sliced if r.axis is not None},
            tried=tried,
            chosen={name: least_error(each).method for name, each in tried.items()},
        )

    def _copies(self) -> tuple[tuple[int, int], ...]:
        """The samples that hold the values of an earlier one, each with the number of the first such."""
        _, first, of = np.unique(self.digests, return_index=True, return_inverse=True)
        earliest = first[of]
        copies = np.flatnonzero((earliest != np.arange(self.total)) & (self.digests != 0))
        return tuple((int(at), int(earliest[at])) for at in copies)

    def _slices(self, request: Request, whole: Extremes) -> tuple[tuple[float, float], ...]:
        """The range of every slice of a request along an axis."""
        found = []
        for name in names_of(request, whole):
            if request.method == "mean_minmax":
                found.append(self.means[name].range())
            elif request.counted:
                found.append(find(request, Distribution((from_counts(self.counts[name], *whole[name]),))))
            else:
                found.append(whole[name])
        return tuple(found)

    def _range(
        self, request: Request, ways: Ways, whole: Extremes, counted: Mapping[str, Distribution]
    ) -> tuple[float, float]:
        ends = self._bounds(request)
        if request.method == "mean_minmax":
            return _within(self.means[request.tensor].range(), ends)
        if request.method == "minmax":
            return _within(span(ways.extremes.parts[request.tensor], whole), ends)
        return find(request, ways.sources.distribution(request.tensor, counted).within(*ends))

    def _tried(self, request: Request, ways: Ways, counted: Mapping[str, Distribution]) -> tuple[Candidate, ...]:
        values = ways.sources.distribution(request.tensor, counted)
        return candidates(request, values.within(*self._bounds(request)))

    def _bounds(self, request: Request) -> tuple[float, float]:
        """What the readers of a tensor tell apart."""
        tops = ((row, self.records.get(top_name(row.tensor, row.axis))) for row in request.rows)
        lows = [-math.inf if top is None else top.low - row.margin for row, top in tops]
        return min((request.low, *lows) if math.isfinite(request.low) or not lows else lows), request.high

    def to_json(self) -> str:
        """Text that `from_json` reads back to the same state."""
        state = {
            "version": _VERSION,
            "key": self.key,
            "total": self.total,
            "done": sorted(self.done),
            "flat": sorted(self.flat),
            "digests": base64.b64encode(self.digests.astype("<u8").tobytes()).decode("ascii"),
            "records": {n: [self.records[n].lows, self.records[n].highs] for n in sorted(self.records)},
            "means": {
                n: [hex(self.means[n].low), hex(self.means[n].high), self.means[n].samples] for n in sorted(self.means)
            },
            "counts": {n: _packed(self.counts[n]) for n in sorted(self.counts)},
        }
        return json.dumps(state, separators=(",", ":"))

    @staticmethod
    def from_json(text: str, at: Span | None = None) -> Observations:
        """What `to_json` wrote, of the dataset named `at` a place. Raises QdslError `calibration-parts` for any other
        text."""
        try:
            state = require_version(json_data(text, _LARGEST), "version", _VERSION)
            return _restored(decode(_State, state), at)
        except UnfitError as error:
            headline, label = "this is not a part of a calibration", str(error)[:300]
            raise QdslError([Diagnostic("calibration-parts", headline, at, label)]) from None


def _ends(tried: Sequence[Candidate]) -> tuple[float, float]:
    """The range that costs the tensor's own values least."""
    best = least_error(tried)
    return best.low, best.high


def _within(found: tuple[float, float], ends: tuple[float, float]) -> tuple[float, float]:
    low, high = (min(max(end, ends[0]), ends[1]) for end in found)
    return low, high


def merged(parts: Sequence[Observations]) -> Observations:
    """All parts together, none of them changed."""
    first, *rest = parts
    whole = Observations(first.key, first.total, span=first.span)
    for part in (first, *rest):
        whole.merge(part)
    return whole


def _packed(counts: Counts) -> str:
    """Counters as text: zlib, since most are 0."""
    return base64.b64encode(zlib.compress(counts.astype("<i8").tobytes(), 1)).decode("ascii")


def _unpacked(text: str) -> Counts:
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(base64.b64decode(text, validate=True), BINS * 8)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) != BINS * 8 or not reader.eof:
        raise ValueError("not the counters of one tensor")
    counts = np.frombuffer(data, "<i8").astype(np.int64)
    if counts.min() < 0:
        raise ValueError("a negative count")
    return counts


def _stored_digests(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<u8").astype(np.uint64)


def _stored_records(found: tuple[tuple[Entry, ...], tuple[Entry, ...]]) -> Records:
    records = Records()
    for low in found[0]:
        records.merge(Records([low], []))
    for high in found[1]:
        records.merge(Records([], [high]))
    return records


def _stored_means(found: tuple[str, str, int]) -> Means:
    return Means(int(found[0], 16), int(found[1], 16), found[2])


_Entries = Annotated[tuple[tuple[Count, float], ...], Many(1)]
_Records = Annotated[Records, Via(tuple[_Entries, _Entries], _stored_records)]
_Means = Annotated[Means, Via(tuple[str, str, Count], _stored_means)]


@dataclass(frozen=True, slots=True)
class _State:
    """What `to_json` writes, without its version."""

    key: str
    total: Count
    done: tuple[Count, ...]
    flat: tuple[Count, ...]
    digests: Annotated[NDArray[np.uint64], Via(str, _stored_digests)]
    records: dict[str, _Records]
    means: dict[str, _Means]
    counts: dict[str, Annotated[Counts, Via(str, _unpacked)]]

    def problem(self) -> str:
        foreign = self.digests.size != self.total or any(index >= self.total for index in self.done)
        return "samples that the dataset does not have" if foreign else ""


def _restored(state: _State, at: Span | None) -> Observations:
    done = set(state.done)
    found = Observations(
        state.key, state.total, done, state.records, state.means, state.counts, {*state.flat} & done, span=at
    )
    found.digests |= state.digests
    return found
