"""float16, held against a file: which nodes compute in it, by what they write."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from qdsl.auditing.asked import Asked
from qdsl.auditing.differing import Difference, Port, difference
from qdsl.auditing.telling import listed
from qdsl.finished.records import Finished
from qdsl.graph.view import GraphView
from qdsl.spec.plan import Origin

_HALF = "float16"


def absent(asked: Asked, finished: Finished, same: Collection[str]) -> Iterator[Difference]:
    """Nodes, of those that plan and file share, that the recipe puts into float16 and the file computes otherwise; one
    difference for each line."""
    found: dict[Origin, list[Port]] = {}
    for each in asked.plan.halves:
        types = _written(finished.view, each.node) if each.node in same and each.writes else {}
        if any(types.get(port, _HALF) != _HALF for port in each.writes):
            found.setdefault(each.origin, []).append(Port(each.node, -1))
    for origin, places in found.items():
        what = f"the recipe asks for float16 at {listed([place.node for place in places])}"
        yield difference(asked, f"{what}, and the file computes in another type", places, "", origin)


def extra(asked: Asked, finished: Finished, same: Collection[str]) -> Iterator[Difference]:
    """The reverse: what writes float16 where the recipe does not ask for it."""
    wanted = {each.node for each in asked.plan.halves}
    marks = {node.node: node.origin for node in asked.plan.nodes}
    found: dict[Origin, list[Port]] = {}
    for name in same:
        if name not in wanted and _HALF in _written(finished.view, name).values():
            found.setdefault(marks.get(name, Origin("default")), []).append(Port(name, -1))
    for origin, places in found.items():
        names = listed([place.node for place in places])
        verb = "writes" if len(places) == 1 else "write"
        yield difference(asked, f"{names} {verb} float16, and the recipe asks for another type", places, "", origin)


def _written(view: GraphView, node: str) -> dict[int, str]:
    """The known types of what a node writes, by port."""
    kinds = ((port, view.tensors[name].dtype) for port, name in enumerate(view.node(node).outputs) if name)
    return {port: kind for port, kind in kinds if kind is not None}
