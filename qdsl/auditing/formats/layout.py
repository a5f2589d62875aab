"""Where the boxes of a drawn graph stand, and the ways of its edges: layers from top to bottom, few crossings.

The layers are those of fast-sugiyama (a Sugiyama layout in Rust), in layers and columns, not yet in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.naming import install_extra

# Layers that edges may cross in all: each crossing is a place for the library to order. An edge between neighbours
# crosses none. Where there would be more, the longest edges are drawn without a place of their own.
MOST_CROSSINGS = (10_000, 3_000, 1_000, 300, 0)
# Ordering a layer takes time with what crosses it times what stands in it: this much about two seconds. Where it would
# be more, fewer edges may cross, and in the end boxes stand in the order of the graph.
MOST_WORK = 500_000
_APART = 10.0  # what the library is told to put between two boxes
_BENDS = 0.6  # how wide a place of an edge is, of a box
_GRID = 8  # boxes without edges, side by side

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Box `i` stands at `places[i]`: (column, layer), layers downwards from 0, columns from 0 to the right, in boxes.
    `ways` has the points that an edge goes through between its ends, by (source, target), () for a straight one; edges
    that are not in it are drawn without regard to what lies between."""

    places: tuple[Point, ...]
    ways: Mapping[tuple[int, int], tuple[Point, ...]]

    @property
    def size(self) -> Point:
        """Columns and layers in all."""
        return max((x for x, _ in self.places), default=0.0) + 1, max((y for _, y in self.places), default=0.0) + 1


def lay_out(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes 0 .. count - 1. `edges` are (source, target), each source before its target in that order, as in a
    graph that is sorted. The same graph gives the same places. Raises QdslError (graph-absent) without the library."""
    kept, work = _affordable(count, sorted(set(edges)))
    placed: dict[int, Point] = {}
    ways: dict[tuple[int, int], tuple[Point, ...]] = {}
    right = 0.0
    layers = _layers(count, kept)
    if work > MOST_WORK:
        return _in_order(layers, kept)
    for part in _parts(count, kept):
        right = _place(part, layers, right, placed, ways)
    _place_alone(count, placed)
    return Layout(tuple(placed[number] for number in range(count)), ways)


def _affordable(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """As many edges as there is room for, and how much work they are: the shortest come first."""
    layers = _layers(count, edges)
    by_length = sorted(edges, key=lambda edge: (layers[edge[1]] - layers[edge[0]], edge))
    kept, work = by_length, 0
    for most in MOST_CROSSINGS:
        kept = _shortest(by_length, layers, most)
        work = _work(layers, kept)
        if work <= MOST_WORK:
            break
    return sorted(kept), work


def _shortest(edges: Sequence[tuple[int, int]], layers: Sequence[int], most: int) -> list[tuple[int, int]]:
    """The first of `edges` that together cross at most that many layers."""
    crossed = accumulate(layers[target] - layers[source] - 1 for source, target in edges)
    return [edge for edge, sum_ in zip(edges, crossed, strict=True) if sum_ <= most]


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The length of the longest way to each box."""
    layers = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    return layers


def _work(layers: Sequence[int], edges: Sequence[tuple[int, int]]) -> int:
    """How much there is to order: over all layers, the edges that end or cross there times the places in it."""
    deep = max(layers, default=0) + 2
    boxes, begun, ended = [0] * deep, [0] * deep, [0] * deep
    for layer in layers:
        boxes[layer] += 1
    for source, target in edges:
        begun[layers[source] + 1] += 1
        ended[layers[target]] += 1
    work = running = 0
    for layer in range(deep):
        running += begun[layer]
        work += running * (boxes[layer] + running - ended[layer])
        running -= ended[layer]
    return work


def _in_order(layers: Sequence[int], edges: Sequence[tuple[int, int]]) -> Layout:
    """Boxes side by side in their layers as they come, edges straight."""
    taken: dict[int, int] = {}
    places = []
    for layer in layers:
        places.append((float(taken.get(layer, 0)), float(layer)))
        taken[layer] = taken.get(layer, 0) + 1
    return Layout(tuple(places), dict.fromkeys(edges, ()))


def _parts(count: int, edges: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The edges of boxes that hang together, the largest part first."""
    root = list(range(count))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for source, target in edges:
        root[find(target)] = find(source)
    parts: dict[int, list[tuple[int, int]]] = {}
    for edge in edges:
        parts.setdefault(find(edge[0]), []).append(edge)
    return sorted(parts.values(), key=lambda part: (-len(part), part[0]))


def _place(
    edges: Sequence[tuple[int, int]],
    layers: Sequence[int],
    right: float,
    placed: dict[int, Point],
    ways: dict[tuple[int, int], tuple[Point, ...]],
) -> float:
    """Lay out one part to the right of what stands; returns where the next one may begin."""
    boxes = sorted({box for edge in edges for box in edge})
    number = {box: at for at, box in enumerate(boxes)}
    positions, joined = _from_library([(number[source], number[target]) for source, target in edges])
    left, top = min(x for x, _ in positions.values()), max(y for _, y in positions.values())
    down = min(layers[box] for box in boxes)  # there the first layer is the highest
    points = {at: (right + (x - left) / _APART, down + (top - y) / _APART) for at, (x, y) in positions.items()}
    placed.update((box, points[number[box]]) for box in boxes)
    behind: dict[int, int] = {}
    begun: list[tuple[int, int]] = []
    for source, target in joined:
        if source < len(boxes):
            begun.append((source, target))
        else:
            behind[source] = target
    for source, at in begun:
        way = []
        while at >= len(boxes):
            way.append(points[at])
            at = behind[at]
        ways[boxes[source], boxes[at]] = tuple(way)
    return max(x for x, _ in points.values()) + 1.5


def _from_library(edges: list[tuple[int, int]]) -> tuple[dict[int, Point], list[tuple[int, int]]]:
    """Places of one part whose boxes are numbered from 0 without a gap; places of edges have the numbers behind."""
    try:
        from fast_sugiyama import from_edges
    except ImportError:
        raise QdslError(
            [
                Diagnostic(
                    "graph-absent",
                    "drawing a graph needs the package `fast-sugiyama`",
                    help=(f"install the extra `graph`: {install_extra('graph')}",),
                )
            ]
        ) from None
    found: Any = from_edges(
        edges, vertex_spacing=_APART, dummy_vertices=True, dummy_size=_APART * _BENDS, check_layout=False
    )
    positions: dict[int, Point] = {}
    joined: list[tuple[int, int]] = []
    for points, _, _, parts in found:
        positions.update(points)
        joined += parts or ()
    return positions, sorted(joined)


def _place_alone(count: int, placed: dict[int, Point]) -> None:
    """Boxes that no drawn edge reaches, in rows below all others."""
    bottom = max((y for _, y in placed.values()), default=-1.0) + 1
    alone = [number for number in range(count) if number not in placed]
    placed.update((number, (float(at % _GRID), bottom + at // _GRID)) for at, number in enumerate(alone))
