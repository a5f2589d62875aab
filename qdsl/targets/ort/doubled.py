"""Two pairs one behind the other, of which the runtime makes one that holds what both let through."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from qdsl.graph.view import GraphView, TensorView, Use
from qdsl.predict.edges import Edges, Quant
from qdsl.spec import DTYPES, Granularity

_TYPES = (DTYPES["uint8"], DTYPES["int8"])


def join_doubled(view: GraphView, edges: Edges) -> GraphView:
    """The graph in which one pair stands where two did; `edges` is changed along. The same graph where none do. Linear
    in the size of the graph."""
    behind: dict[str, list[str]] = {}
    for between, (source, _) in edges.repeated.items():
        behind.setdefault(source, []).append(between)
    joined: dict[str, str] = {}
    for between in list(edges.repeated):
        on = _joined(edges, between, behind.pop(between, ()))
        joined |= {} if on is None else {between: on}
    return _without(view, joined) if joined else view


def _joined(edges: Edges, between: str, behind: Iterable[str]) -> str | None:
    """Puts one pair where two stand around the tensor `between`; returns the tensor that it stands on, None where the
    two stay: where somebody else reads one of them, or where their types differ. `behind` repeat `between`."""
    source, first = edges.repeated[between]
    out, inner = edges.written.get(source), edges.written.get(between)
    if out is None or inner is None:
        return None
    second = inner.only_quant
    if second is None or len(out.quants.get(first, ())) != 1 or not inner.quants[second]:
        return None
    if not _joins(first) or not _joins(second) or first.dtype != second.dtype:
        return None
    both = first if first.params == second.params else _both(first, second)
    own = first.site if first.params == second.params else f"{first.site} {between}"  # new constants, or its own
    both = replace(both, scalar=first.scalar and second.scalar, site=own)
    del out.quants[first]
    readers = inner.quants.pop(second)
    out.add(both, readers)
    edges.reads.update((use, both) for use in readers if use in edges.reads)
    del edges.repeated[between], edges.written[between]
    edges.repeated.update((name, (source, both)) for name in behind)
    return source


def _joins(quant: Quant) -> bool:
    whole = quant.granularity is Granularity.PER_TENSOR and quant.fixed and not quant.bare
    return whole and quant.dtype in _TYPES and quant.reach is not None and quant.step > 0


def _both(first: Quant, second: Quant) -> Quant:
    """The pair whose range is what the ranges of both have in common, as the runtime computes it: in float32. It may be
    one of the two."""
    import numpy as np

    qmin, qmax = first.dtype.qmin, first.dtype.qmax
    assert qmin is not None and qmax is not None, "8 bit integers"
    zeros = [_zero(each, qmin) for each in (first, second)]
    steps = [np.float32(each.step) for each in (first, second)]
    low = max(np.float32(qmin - zero) * step for zero, step in zip(zeros, steps, strict=True))
    high = min(np.float32(qmax - zero) * step for zero, step in zip(zeros, steps, strict=True))
    step = (high - low) / np.float32(qmax - qmin)
    zero = _away(float(np.float32(qmin) - low / step)) if step > 0 else qmin
    for each, its_zero, its_step in zip((first, second), zeros, steps, strict=True):
        if zero == its_zero and step == its_step:
            return each
    step = max(step, np.finfo(np.float32).tiny)  # of two ranges that have one value in common, or none
    reach = float((qmin - zero) * step), float((qmax - zero) * step)
    params = f"{first.params}&{second.params}"
    return replace(first, params=params, reach=reach, step=float(step), lowest_zero=zero == qmin)


def _zero(quant: Quant, qmin: int) -> int:
    assert quant.reach is not None, "only such pairs are joined"
    return qmin - round(quant.reach[0] / quant.step)


def _away(value: float) -> int:
    """The nearest integer; of two, the one further from 0."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _without(view: GraphView, joined: dict[str, str]) -> GraphView:
    """The graph in which what read the tensor between two pairs reads what both stand on."""
    at: dict[str, str] = {}
    for between, source in joined.items():
        at[between] = at.get(source, source)
    nodes = tuple(replace(node, inputs=tuple(at.get(name, name) for name in node.inputs)) for node in view.nodes)
    uses: dict[str, list[Use]] = {}
    for between, source in at.items():
        uses.setdefault(source, list(view.tensors[source].uses)).extend(view.tensors[between].uses)
    tensors = {name: _with(tensor, uses) for name, tensor in view.tensors.items() if name not in at}
    outputs = tuple(at.get(name, name) for name in view.outputs)
    return replace(view, nodes=nodes, tensors=tensors, outputs=outputs)


def _with(tensor: TensorView, uses: dict[str, list[Use]]) -> TensorView:
    found = uses.get(tensor.name)
    return tensor if found is None else replace(tensor, uses=tuple(sorted(found, key=lambda use: (use.node, use.port))))
