"""How requests are answered: what a pass over the data has to see for all who ask, and what follows from it for each.

Several may ask of one pass, as the targets of a recipe do. Each gets what it would get alone: whose values are counted
and whose follow from those of others is decided for each by itself, and what any of them needs is looked at. What the
float model computes may differ in its last bits: ONNX Runtime fuses an Add into a Conv, say, where nobody looks at what
lies between, and adds up in another order then. Seen on residual networks and transformers: 6e-7 of a range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdsl.calibrate.channels import check_axes
from qdsl.calibrate.request import Request
from qdsl.calibrate.shortcuts import Shortcuts, shortcuts
from qdsl.calibrate.sources import Sources, sources
from qdsl.diag import nearest
from qdsl.graph import Model
from qdsl.graph.view import GraphView


@dataclass(frozen=True, slots=True)
class Ways:
    """How the requests of one who asks are answered: `extremes` for minmax and mean_minmax, `sources` for the methods
    that count. `sliced` are the requests along an axis, answered from the tensors themselves."""

    requests: tuple[Request, ...]
    extremes: Shortcuts
    sources: Sources
    sliced: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What a pass has to see for all who ask: the ends of what `extremes` reduces, every element of the tensors
    `counted`, the ends of each sample for the tensors `averaged`, the largest values of the rows of `rows` (tensor,
    axis), the slices of `sliced`. `asked` are all requests without an axis. In the measured tensors `masked` minus
    infinity counts as the lowest float."""

    asked: tuple[Request, ...]
    extremes: Shortcuts
    counted: tuple[str, ...]
    averaged: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]
    sliced: tuple[Request, ...]
    masked: frozenset[str]


def plan_ways(model: Model, requests: Sequence[Request]) -> Ways:
    """How the requests of one who asks alone are answered on `model`. Raises QdslError `calibration-tensor`."""
    (ways,), _ = plan_all(model, [requests])
    return ways


def plan_all(model: Model, asked: Sequence[Sequence[Request]]) -> tuple[tuple[Ways, ...], Look]:
    """How the requests of each who asks are answered on `model`, and what has to be seen for all of them. Raises
    QdslError `calibration-tensor`."""
    view = model.view()
    _check(model, view, [request.tensor for requests in asked for request in requests])
    unique = [{(request.tensor, request.axis): request for request in requests} for requests in asked]
    every = [request for found in unique for request in found.values()]
    check_axes(view, [request for request in every if request.axis is not None])
    # Ends are exact whichever tensors they are taken from, so that one choice of these serves all.
    ends = [request.tensor for request in every if request.axis is None and not request.counted]
    extremes = shortcuts(view, list(dict.fromkeys(ends)))
    ways = tuple(_ways(view, tuple(found.values()), extremes) for found in unique)
    return ways, _look(ways, extremes)


def _ways(view: GraphView, requests: Sequence[Request], extremes: Shortcuts) -> Ways:
    plain = tuple(request for request in requests if request.axis is None)
    counting = sources(view, [request.tensor for request in plain if request.counted])
    return Ways(plain, extremes, counting, tuple(request for request in requests if request.axis is not None))


def _look(ways: Sequence[Ways], extremes: Shortcuts) -> Look:
    plain = tuple(dict.fromkeys(request for each in ways for request in each.requests))
    # What is counted or added up for one slice is so once, whoever else asks.
    sliced = {(r.tensor, r.axis, r.counted, r.method == "mean_minmax"): r for each in ways for r in each.sliced}
    return Look(
        plain,
        extremes,
        tuple(dict.fromkeys(name for each in ways for name in each.sources.counted)),
        tuple(dict.fromkeys(request.tensor for request in plain if request.method == "mean_minmax")),
        tuple(dict.fromkeys((row.tensor, row.axis) for request in plain for row in request.rows)),
        tuple(sliced.values()),
        _masked(ways, extremes),
    )


def _masked(ways: Iterable[Ways], extremes: Shortcuts) -> frozenset[str]:
    """The measured tensors whose minus infinity every request for them allows."""
    allowed: set[str] = set()
    refused: set[str] = set()
    for each in ways:
        for request in each.requests:
            terms = each.sources.terms[request.tensor] if request.counted else ()
            of = [atom for (atom, _), _ in terms] if request.counted else extremes.parts[request.tensor]
            (allowed if request.masked else refused).update(of)
    return frozenset(allowed - refused)


def _check(model: Model, view: GraphView, tensors: Sequence[str]) -> None:
    for name in tensors:
        known = view.tensors.get(name)
        if known is None or known.kind == "constant":
            help = tuple(f"did you mean `{close}`?" for close in nearest(name, view.tensors))
            what = "is a constant" if known else "is not in the model"
            raise model.error("calibration-tensor", f"tensor {name} {what}", help=help)
