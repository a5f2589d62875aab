"""The decoding head of a detector, found by structure: what turns the last convolutions' maps into boxes and scores.

A *feature* node has weights and is not part of the decoding itself (see `decoding_weight`). A *source* is a feature
node that no other feature node follows. Everything that follows the sources is the *tail*; it splits into components
that share no connection. A component decodes detections when one of these holds:

- it contains a non-maximum suppression;
- a Concat in it joins a probability (last value computed by Sigmoid or Softmax) with something that is none;
- a Concat in it joins two sources whose maps were flattened on the way (boxes of several levels in one list);
- two separate Concats in it, or in two components, each join two sources bare (boxes beside scores, level by level);
- two sources of it, at different map sizes, have their channels folded into anchors (a Reshape to rank five or more).

Only ways that do not resize the map count: a segmentation net joins and resizes maps, too, but answers per pixel. And
the sources have to be convolutions over a map, unless a non-maximum suppression follows. In a detector, the components
without such a sign belong to the head when their source stands on a map of the size of another component's source (the
score branch that ends in its own output), so a mask branch at another size does not. A detector made of matrix products
alone (a transformer's query decoder) is not recognised, nor one that leaves all maps as they are: nothing follows its
sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.graph.neighbours import CARRIES, CONVS, Links, links, once_per_view, reachable, weighted, writer
from qdsl.graph.view import GraphView, NodeView

_SUPPRESSIONS = frozenset(
    [
        "NonMaxSuppression",
        "EfficientNMS_TRT",
        "EfficientNMSX_TRT",
        "BatchedNMS_TRT",
        "BatchedNMSDynamic_TRT",
        "MultiLevelNMS_TRT",
    ]
)
_RESIZES = frozenset({"Resize", "Upsample", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool", "GridSample"})
PROBABILITIES = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


@dataclass(frozen=True, slots=True)
class Tail:
    """Sources and what follows them, by node index. `ahead` are constant or shape computations that only the tail
    reads; `component` numbers the pieces of the tail."""

    sources: tuple[int, ...]
    nodes: frozenset[int]
    ahead: frozenset[int]
    component: dict[int, int]


@once_per_view
def decode_head(view: GraphView) -> frozenset[int]:
    """The nodes that decode a detector's boxes and scores; empty for every other kind of graph."""
    tail = tail_of(view)
    signs = _signs(view, tail)
    if not signs:
        return frozenset()
    sizes = {_map_size(view, s) for s in tail.sources if any(tail.component.get(n) in signs for n in _after(view, s))}
    kept = set(signs)
    for source in tail.sources:
        if view.nodes[source].op in CONVS and _map_size(view, source) in sizes:
            kept |= {tail.component[n] for n in _after(view, source) if n in tail.component}
    found = {index for index, number in tail.component.items() if number in kept}
    return frozenset(found | _feeding(view, tail, found))


@once_per_view
def tail_of(view: GraphView) -> Tail:
    """Sources and tail of any graph, detector or not; linear in nodes and connections."""
    net = links(view)
    features = frozenset(index for index in weighted(view) if not decoding_weight(view, view.nodes[index]))
    leads = reachable(features, net.before) - features
    inner = {index for index in features if any(n in features or n in leads for n in net.after[index])}
    sources = tuple(sorted(features - inner))
    followed = reachable(frozenset(sources), net.after) - features
    nodes = frozenset(followed - leads)
    ahead = reachable(nodes, net.before) - nodes - features - leads
    return Tail(sources, nodes, frozenset(ahead), _components(nodes, net))


def decoding_weight(view: GraphView, node: NodeView) -> bool:
    """Whether a weighted node takes part in decoding.

    That is the expectation over a Softmax's bins (distribution focal loss, Li et al. 2020: a 1x1 Conv or a product
    with one output channel), or a 4x4 matrix that turns corners into centres.
    """
    weight = weighted(view)[node.index]
    if weight.kernel is None and (weight.in_channels, weight.out_channels) == (4, 4):
        return node.op == "MatMul"
    if weight.out_channels != 1 or (weight.kernel is not None and set(weight.kernel) != {1}):
        return False
    data = 0 if weight.port else 1
    tensor = node.inputs[data] if data < len(node.inputs) else ""
    for _ in range(6):
        producer = writer(view, tensor)
        if producer is None or producer.op not in CARRIES:
            return producer is not None and producer.op == "Softmax"
        tensor = producer.inputs[0] if producer.inputs else ""
    return False


def _after(view: GraphView, index: int) -> tuple[int, ...]:
    return links(view).after[index]


def _components(nodes: frozenset[int], net: Links) -> dict[int, int]:
    """Each node's component, numbered in graph order of their first nodes."""
    component: dict[int, int] = {}
    count = 0
    for start in sorted(nodes):
        if start in component:
            continue
        component[start] = count
        waiting = [start]
        while waiting:
            at = waiting.pop()
            for index in (*net.before[at], *net.after[at]):
                if index in nodes and index not in component:
                    component[index] = count
                    waiting.append(index)
        count += 1
    return component


def _feeding(view: GraphView, tail: Tail, found: set[int]) -> set[int]:
    """Shape and anchor computations that lead to the head and nowhere else."""
    net = links(view)
    inside = set(found)
    for index in sorted(tail.ahead, reverse=True):
        users = net.after[index]
        if users and inside.issuperset(users):
            inside.add(index)
    return inside - found


@dataclass(frozen=True, slots=True)
class _Way:
    """What is known of a tail tensor along ways that do not resize: the sources it comes from, whether it is a
    probability, bare (only moved since its source), flattened, or folded into anchors."""

    sources: frozenset[int] = frozenset()
    probability: bool = False
    bare: bool = False
    flattened: bool = False
    folded: bool = False


def _signs(view: GraphView, tail: Tail) -> set[int]:
    """The components of the tail that decode detections."""
    suppressed = {tail.component[i] for i in tail.nodes if view.nodes[i].op in _SUPPRESSIONS}
    maps = [s for s in tail.sources if view.nodes[s].op in CONVS and _over_map(view, s)]
    if not maps:
        return suppressed
    ways: dict[str, _Way] = {}
    for source in maps:
        for name in view.nodes[source].outputs:
            ways[name] = _Way(frozenset({source}), bare=True)
    signs, pairs, folds = set(suppressed), [], []
    for index in sorted(tail.nodes):
        node = view.nodes[index]
        inputs = [ways[name] for name in node.inputs if name in ways]
        if not inputs or node.op in _RESIZES:
            continue
        out = _step(view, node, inputs)
        ways.update({name: out for name in node.outputs if name})
        folds += [(index, out.sources)] if out.folded else []
        if node.op == "Concat" and len(inputs) > 1:
            signs |= {tail.component[index]} if _joins_detections(inputs) else set()
            pairs += [(index, out.sources)] if _bare_pair(inputs) else []
    return signs | _many(view, tail, pairs, 2) | _many(view, tail, folds, 1)


def _step(view: GraphView, node: NodeView, inputs: list[_Way]) -> _Way:
    sources = frozenset().union(*(way.sources for way in inputs))
    flattened = all(way.flattened for way in inputs)
    folded = all(way.folded for way in inputs)
    if node.op in CARRIES or node.op == "Concat":
        flat, fold = _reshapes(view, node)
        probability = all(way.probability for way in inputs)
        bare = all(way.bare for way in inputs) and node.op != "Concat"
        return _Way(sources, probability, bare, flattened or flat, folded or fold)
    if node.op in PROBABILITIES:
        return _Way(sources, True, all(way.bare for way in inputs), flattened, folded)
    product = node.op == "Mul" and len(inputs) == 2
    return _Way(sources, product and all(way.probability for way in inputs), False, flattened, folded)


def _joins_detections(inputs: list[_Way]) -> bool:
    mixed = len({way.probability for way in inputs}) > 1
    lists = [way.sources for way in inputs if way.flattened]
    return mixed or len(set(lists)) > 1


def _bare_pair(inputs: list[_Way]) -> bool:
    return all(way.bare for way in inputs) and len({way.sources for way in inputs}) > 1


def _many(view: GraphView, tail: Tail, found: list[tuple[int, frozenset[int]]], apiece: int) -> set[int]:
    """The components of `found` when it holds at least two, over sources at different map sizes."""
    sizes = {_map_size(view, min(sources)) for _, sources in found if len(sources) >= apiece}
    return {tail.component[index] for index, _ in found} if len(sizes) > 1 else set()


def _reshapes(view: GraphView, node: NodeView) -> tuple[bool, bool]:
    """Whether a node flattens a map (lowers the rank), and whether it folds channels into anchors (raises it)."""
    if node.op not in {"Reshape", "Flatten"}:
        return False, False
    before, after = _rank(view, node.inputs[0]) or 4, _rank(view, node.outputs[0])
    if after is None and node.op == "Reshape":
        after = len(view.small.get(node.inputs[1], ())) or None
    return after is not None and after < before, after is not None and after > max(before, 4)


def _rank(view: GraphView, tensor: str) -> int | None:
    known = view.tensors.get(tensor)
    return None if known is None or known.shape is None else len(known.shape)


def _map_size(view: GraphView, index: int) -> tuple[object, ...]:
    """The trailing dimensions of a node's output; of its data input, where those are unknown, as a tensor name."""
    node = view.nodes[index]
    known = view.tensors.get(node.outputs[0])
    if known is None or known.shape is None or None in known.shape[2:]:
        return (node.inputs[0],)
    return known.shape[2:]


def _over_map(view: GraphView, index: int) -> bool:
    """Whether a convolution's output is larger than one point, or of unknown size."""
    known = view.tensors.get(view.nodes[index].outputs[0])
    return known is None or known.shape is None or any(dim != 1 for dim in known.shape[2:])
