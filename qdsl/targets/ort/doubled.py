"""Two pairs one behind the other, of which the runtime makes one that holds what both let through."""

from __future__ import annotations

from dataclasses import replace

from qdsl.graph.view import GraphView, TensorView, Use
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, Quant
from qdsl.spec import DTYPES, Granularity

_TYPES = (DTYPES["uint8"], DTYPES["int8"])


def join_doubled(view: GraphView, edges: Edges) -> GraphView:
    """The graph in which one pair stands where two did; `edges` is changed along. The same graph where none do. Linear
    in the size of the graph."""
    joined = {between: source for between in list(edges.repeated) if (source := _joined(edges, between))}
    return _without(view, joined) if joined else view


def _joined(edges: Edges, between: str) -> str | None:
    """Puts one pair where two stand around the tensor `between`; returns the tensor that it stands on, None where the
    two stay: where somebody else reads one of them, or where their types differ."""
    source, first = edges.repeated[between]
    out, inner = edges.written.get(source), edges.written.get(between)
    if out is None or inner is None:
        return None
    second = inner.only_quant
    if second is None or len(out.quants.get(first, ())) != 1 or len(inner.quants[second]) != 1:
        return None
    if not _joins(first) or not _joins(second) or first.dtype != second.dtype:
        return None
    both = first if first.params == second.params else _both(first, second)
    del out.quants[first]
    readers = inner.quants.pop(second)
    out.add(both, readers)
    edges.reads.update((use, both) for use in readers if use in edges.reads)
    del edges.repeated[between], edges.written[between]
    for name, (above, _) in list(edges.repeated.items()):
        if above == between:
            edges.repeated[name] = (source, both)
    return source


def _joins(quant: Quant) -> bool:
    whole = quant.granularity is Granularity.PER_TENSOR and quant.fixed and not quant.bare
    return whole and quant.dtype in _TYPES and quant.reach is not None


def _both(first: Quant, second: Quant) -> Quant:
    """The pair whose range is what the ranges of both have in common."""
    low, high = _common(first), _common(second)
    reach: Interval = max(low[0], high[0]), min(low[1], high[1])
    qmin, qmax = first.dtype.qmin, first.dtype.qmax
    assert qmin is not None and qmax is not None, "8 bit integers"
    step = (reach[1] - reach[0]) / (qmax - qmin)
    zero = round(qmin - reach[0] / step) if step > 0 else qmin
    return replace(first, params=f"{first.params}&{second.params}", reach=reach, step=step, lowest_zero=zero == qmin)


def _common(quant: Quant) -> Interval:
    assert quant.reach is not None, "only such pairs are joined"
    return quant.reach


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
