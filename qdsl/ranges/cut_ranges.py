"""Measured ranges, cut where what reads the tensor is flat: `Plan.cuts`, in numbers.

What is measured stays as it is in the lock; cutting follows from it and the plan, and comes out the same every time.
Constants that are stored as activations are (a mask that is added, the value a Where puts in masked places) get a
range here, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, Severity
from qdsl.graph.moves import source
from qdsl.graph.view import GraphView
from qdsl.passes.qdq_parameters import bounds as clipped
from qdsl.plan import Decisions
from qdsl.plan.cuts import held, resolved
from qdsl.ranges.by_target import TargetRanges
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_LARGEST = float(np.finfo(np.float32).max)
_SHOWN = 3
_LEAST = 0.01  # of the width of a range: less is not worth a word
Span = tuple[float, float]


def cut_ranges(prepared: Prepared, one: Decisions, measured: Ranges) -> Ranges:
    """`measured`, the ranges of one target, with every range that `one` cuts."""
    low, high, methods = dict(measured.low), dict(measured.high), dict(measured.methods)
    for name, found in sorted(_cuts(prepared, one, measured).items()):
        low[name], high[name] = found.low, found.high
        how = methods.get(name, "constant")
        methods[name] = f"{how}, cut to [{low[name]:.4g}, {high[name]:.4g}] ({found.by})"
    ordered = ({name: ends[name] for name in sorted(ends)} for ends in (low, high))
    return replace(measured, low=next(ordered), high=next(ordered), methods=methods)


def cut_note(decided: Sequence[Decisions], measured: TargetRanges, ranges: TargetRanges) -> Iterator[Diagnostic]:
    """A note that names the ranges which were cut, if any: `ranges` are those of `measured` and `decided`. What several
    targets cut alike is told once."""
    pairs = [(measured.of(target), found) for target, found in ranges.by_target.items()]
    moved = sorted((name, _words(name, was, now)) for was, now in pairs for name in now.low if _moved(name, was, now))
    told = list(dict.fromkeys(words for _, words in moved))
    if told:
        able = {cut.tensor for one in decided for cut in one.plan.cuts}
        headline = f"{_of(len({name for name, _ in moved}), len(able))} cut where nothing more is read"
        notes = (*told[:_SHOWN], *([f"and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else []))
        span = decided[0].context.cascade.mode.span
        yield Diagnostic("range-cut", headline, span, notes=notes, severity=Severity.NOTE)


def _of(cut: int, able: int) -> str:
    """`56 of the 63 ranges that may be cut were`."""
    which = "the range that may be cut" if able == 1 else f"{cut} of the {able} ranges that may be cut"
    return f"{which} {'was' if cut == 1 else 'were'}"


def _moved(name: str, measured: Ranges, ranges: Ranges) -> bool:
    return (measured.low.get(name), measured.high.get(name)) != (ranges.low[name], ranges.high[name])


def _words(name: str, measured: Ranges, ranges: Ranges) -> str:
    ends = f"[{ranges.low[name]:.4g}, {ranges.high[name]:.4g}]"
    of = f"of [{measured.low[name]:.4g}, {measured.high[name]:.4g}]" if name in measured.low else "of a constant"
    return f"{plain(name)}: {ends} {of}"


@dataclass(frozen=True, slots=True)
class _Found:
    low: float
    high: float
    by: str


def _cuts(prepared: Prepared, one: Decisions, measured: Ranges) -> dict[str, _Found]:
    known = _Known(prepared, one, measured)
    found = {}
    for name, ((low, high), by) in resolved(one.context, one.draft, known).items():
        span = known.span(name)
        if span is None:
            continue
        ends = _within(span, (low, high))
        if max(ends[0] - span[0], span[1] - ends[1]) > _LEAST * (span[1] - span[0]):
            found[name] = _Found(*ends, ", ".join(sorted(by)))
    return found


def _within(span: Span, ends: Span) -> Span:
    low, high = (min(max(value, ends[0]), ends[1]) for value in span)
    return low, high


class _Known:
    """What is known of tensors in numbers: ranges by hand, measured ones, values of constants."""

    def __init__(self, prepared: Prepared, one: Decisions, measured: Ranges) -> None:
        self._prepared = prepared
        self._view: GraphView = prepared.view
        self._measured = measured
        self._tensors = one.draft.tensors
        self._held: Mapping[str, Span] = held(one.context, one.draft.tensors)
        self._seen: dict[str, Span | None] = {}

    def span(self, tensor: str) -> Span | None:
        if tensor not in self._seen:
            self._seen[tensor] = self._find(tensor)
        return self._seen[tensor]

    def saturates(self, tensor: str) -> Span | None:
        """Where a stored tensor that rows of a Softmax are read from begins: see `Request.rows`."""
        plan = self._tensors.get(tensor)
        if plan is None or not plan.observe or tensor not in self._measured.low:
            return None
        return self._measured.low[tensor], math.inf

    def _find(self, tensor: str) -> Span | None:
        if tensor in self._held:
            return self._held[tensor]
        given = self._tensors[tensor].calibration if tensor in self._tensors else None
        if given is not None and given.low is not None and given.high is not None:
            return given.low, given.high
        if tensor in self._measured.low:
            floor, ceiling = clipped(self._view, tensor)
            return _within((self._measured.low[tensor], self._measured.high[tensor]), (floor, ceiling))
        if self._view.is_constant(tensor):
            return self._values(self._prepared.model.values(tensor))
        node = self._view.producer(tensor)
        origin = None if node is None else source(node)
        return None if origin is None else self.span(origin)

    @staticmethod
    def _values(values: NDArray[Any]) -> Span | None:
        if values.dtype.kind != "f" or not values.size or np.isnan(values).any():
            return None
        low, high = np.clip([values.min(), values.max()], -_LARGEST, _LARGEST)
        return float(low), float(high)
