"""Which tensors' values are counted, and which distributions follow from those of others.

A tensor's values are a sum of terms: the values of a counted tensor, sent through elementwise operators, each occurring
a number of times. Reshapes, Concat, and Resize by whole factors follow exactly; Relu, Clip, Sigmoid, Tanh and SiLU
follow to within a bin. Nothing is counted only to derive something else from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qdsl.calibrate.histogram import Distribution, union
from qdsl.calibrate.maps import Map, apply, map_of
from qdsl.graph.moves import SAME_VALUES
from qdsl.graph.view import GraphView, NodeView

_MOST_TERMS, _MOST_MAPS = 64, 4
Term = tuple[str, tuple[Map, ...]]
Terms = tuple[tuple[Term, int], ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """`counted`: tensors whose every element is counted, in graph order. `terms`: for each wanted tensor, what its
    values are made of."""

    counted: tuple[str, ...]
    terms: Mapping[str, Terms]

    def distribution(self, tensor: str, counted: Mapping[str, Distribution]) -> Distribution:
        """The distribution of a wanted tensor from those of the counted ones."""
        parts = []
        for (atom, maps), weight in self.terms[tensor]:
            found = counted[atom]
            for each in maps:
                found = apply(each, found)
            parts.append(Distribution(tuple(p.times(weight) for p in found.parts)))
        return union(parts)


def sources(view: GraphView, wanted: Sequence[str]) -> Sources:
    """Decide for every wanted tensor (names in `view`) how its distribution is found. Linear in the graph."""
    needed = set(wanted)
    known: dict[str, Terms] = {}
    counted = [name for name in view.inputs if name in needed]
    known.update({name: (((name, ()), 1),) for name in counted})
    for node in view.nodes:
        found = _derived(view, node, known)
        for output in (o for o in node.outputs if o):
            if found is not None:
                known[output] = found
            elif output in needed:
                known[output] = (((output, ()), 1),)
                counted.append(output)
    return Sources(tuple(counted), {name: known[name] for name in wanted})


def _derived(view: GraphView, node: NodeView, known: Mapping[str, Terms]) -> Terms | None:
    """What the only output of `node` is made of, when that follows from tensors in `known`."""
    if node.domain or len([o for o in node.outputs if o]) != 1 or not node.inputs:
        return None
    if node.op in SAME_VALUES:
        return known.get(node.inputs[0])
    if node.op == "Concat":
        return _concat(view, node, known)
    if node.op == "Resize":
        times = _repeats(view, node)
        source = known.get(node.inputs[0])
        return None if source is None or not times else tuple((term, count * times) for term, count in source)
    mapped = map_of(view, node)
    source = known.get(mapped[1]) if mapped else None
    if mapped is None or source is None or any(len(maps) >= _MOST_MAPS for (_, maps), _ in source):
        return None
    return tuple(((atom, (*maps, mapped[0])), count) for (atom, maps), count in source)


def _concat(view: GraphView, node: NodeView, known: Mapping[str, Terms]) -> Terms | None:
    """The sum of what the inputs are made of; all outputs of one Split together are what was split."""
    inputs = Counter(node.inputs)
    for name in node.inputs:
        by = view.producer(name)
        if by is None or by.op != "Split" or not all(inputs[o] > 0 for o in by.outputs):
            continue
        for output in by.outputs:
            inputs[output] -= 1
        inputs[by.inputs[0]] += 1
    total: Counter[Term] = Counter()
    for name, count in inputs.items():
        if not count:
            continue
        if name not in known:
            return None
        for term, weight in known[name]:
            total[term] += weight * count
    return tuple(total.items()) if len(total) <= _MOST_TERMS else None


def _repeats(view: GraphView, node: NodeView) -> int:
    """How often a nearest Resize repeats each element of its input; 0 when not every element equally often."""
    if node.attrs.get("mode", "nearest") != "nearest":
        return 0
    how = (
        node.attrs.get("coordinate_transformation_mode", "half_pixel"),
        node.attrs.get("nearest_mode", "round_prefer_floor"),
    )
    if how not in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")):
        return 0
    before, after = (view.tensors[name].shape for name in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or len(before) != len(after):
        return 0
    times = 1
    for was, now in zip(before, after, strict=True):
        if not isinstance(was, int) or not isinstance(now, int) or was < 1 or now % was:
            return 0
        times *= now // was
    return times
