"""What given limits would do to the values of tensors, seen on a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from qdsl.calibrate.instrument import expose
from qdsl.calibrate.session import run, session
from qdsl.data import Sample
from qdsl.graph import Model
from qdsl.graph.view import GraphView

_AT_ONCE = 1 << 25  # elements of all tensors that leave one session
Limits = tuple[float, float]


@dataclass(slots=True)
class Cut:
    """Sums over every value seen: its range, how many there are and how many lie outside the limits, their energy (sum
    of squares) and that of what the limits cut off."""

    low: float = float("inf")
    high: float = float("-inf")
    count: int = 0
    outside: int = 0
    energy: float = 0.0
    lost: float = 0.0

    def add(self, values: Any, limits: Limits) -> None:
        flat = np.asarray(values, np.float64).reshape(-1)
        if not flat.size:
            return
        kept = np.clip(flat, *limits)
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.count += flat.size
        self.outside += int(np.count_nonzero(kept != flat))
        self.energy += float(np.sum(flat * flat))
        flat -= kept
        self.lost += float(np.sum(flat * flat))


def cuts(
    model: Model,
    limits: Mapping[str, Limits],
    samples: Sequence[Sample],
    read: Mapping[str, Callable[[Any], Any]] | None = None,
) -> dict[str, Cut]:
    """What `limits` (by tensor, graph inputs included) cut off the values of `model` on `samples`, by tensor name.
    `read` says what of a tensor's values counts. Raises QdslError calibration-load, calibration-run."""
    what = read or {}
    view = model.view()
    found = {name: Cut() for name in sorted(limits)}
    for name in (n for n in found if n in view.inputs):
        for sample in samples:
            if name in sample.arrays:
                found[name].add(what.get(name, np.asarray)(sample.arrays[name]), limits[name])
    for part in _parts(view, [name for name in found if name not in view.inputs]):
        loaded = session(model, partial(expose, view=view, tensors=part))
        for sample in samples:
            for name, values in zip(part, run(loaded, part, sample, model), strict=True):
                found[name].add(what.get(name, np.asarray)(values), limits[name])
    return found


def _parts(view: GraphView, names: Sequence[str]) -> Iterator[list[str]]:
    """Names in parts that do not hold too much at once."""
    part: list[str] = []
    held = 0
    for name in names:
        size = view.tensors[name].elements or 1 << 20
        if part and held + size > _AT_ONCE:
            yield part
            part, held = [], 0
        part.append(name)
        held += size
    if part:
        yield part
