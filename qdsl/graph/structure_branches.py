"""What a detector's last convolutions mean, boxes or scores, and where the head joins the two in one tensor.

A joined tensor has one scale: boxes in pixels (0..640) leave a probability (0..1) one or two steps of 256. Meaning is
read from use: a map that goes into a Sigmoid or Softmax is a score, one that arithmetic is done on is a box, and a map
that is only moved stays "raw". Channels are followed through Concat, Split and Slice, so that it does not matter that
boxes and scores travel in one tensor for a while.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

from qdsl.graph.neighbours import CARRIES, constant_operand, once_per_view, readers, weighted
from qdsl.graph.structure_head import PROBABILITIES, decode_head, tail_of
from qdsl.graph.view import GraphView, NodeView

_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Exp", "Conv", "MatMul", "Relu", "Softplus"})
_KEEPS = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a tensor of the head holds: along `axis`, pieces of known length, each with the convolutions it comes from.
    `axis` None means that this is no longer known, and there is one piece. `value` is raw, probability, computed or
    mixed."""

    value: str
    axis: int | None
    pieces: tuple[tuple[int, frozenset[int]], ...]

    @property
    def sources(self) -> frozenset[int]:
        return frozenset().union(*(sources for _, sources in self.pieces))

    def merged(self) -> _Lane:
        return _Lane(self.value, None, ((0, self.sources),))

    def cut(self, start: int, end: int) -> _Lane:
        """The part from `start` to `end` along the axis."""
        kept, at = [], 0
        for length, sources in self.pieces:
            size = min(end, at + length) - max(start, at)
            kept += [(size, sources)] if size > 0 else []
            at += length
        return replace(self, pieces=tuple(kept))


@once_per_view
def head_branches(view: GraphView) -> dict[int, str]:
    """Per last convolution that feeds the decoding head: "boxes", "scores", "both" (anchors), or "raw"."""
    return _walk(view)[0]


@once_per_view
def mixed_concats(view: GraphView) -> tuple[tuple[int, str], ...]:
    """Concats of the decoding head that join boxes and scores, each with the reason in a few words."""
    meaning, lanes = _walk(view)
    found = []
    for index in sorted(decode_head(view)):
        node = view.nodes[index]
        reason = _reason(view, node, lanes, meaning) if node.op == "Concat" else None
        if reason is not None:
            found.append((index, reason))
    return tuple(found)


def _reason(view: GraphView, node: NodeView, lanes: dict[str, _Lane], meaning: dict[int, str]) -> str | None:
    parts = [lanes[name] for name in node.inputs if name in lanes]
    values = {lane.value for lane in parts}
    if "probability" in values and len(values) > 1:
        other = "computed boxes" if "computed" in values else "maps that are no probabilities"
        return f"joins probabilities (0..1) with {other}"
    meanings = [{meaning[source] for source in lane.sources} for lane in parts]
    if {"boxes"} in meanings and {"scores"} in meanings:
        return "joins the maps that boxes are decoded from with the maps of scores"
    if len(parts) > 1 and meanings == [{"raw"}] * len(parts) and all(lane.axis == _axis(view, node) for lane in parts):
        return "joins the bare maps of several branches: boxes and scores, by their place"
    return None


def _walk(view: GraphView) -> tuple[dict[int, str], dict[str, _Lane]]:
    head = decode_head(view)
    lanes: dict[str, _Lane] = {}
    uses: dict[int, set[str]] = {}
    for source in tail_of(view).sources:
        if not any(reader.index in head for name in view.nodes[source].outputs for reader in readers(view, name)):
            continue
        uses[source] = set()
        channels = weighted(view)[source].out_channels
        piece = ((channels or 0, frozenset({source})),)
        lanes[view.nodes[source].outputs[0]] = _Lane("raw", 1 if channels else None, piece)
    for index in sorted(head):
        node = view.nodes[index]
        inputs = [lanes[name] for name in node.inputs if name in lanes]
        if not inputs or node.op == "Shape":
            continue
        _note_use(view, node, inputs, uses)
        written = _outputs(view, node, inputs)
        lanes.update({name: lane for name, lane in zip(node.outputs, written, strict=False) if name})
    return {source: _meaning(found) for source, found in sorted(uses.items())}, lanes


def _meaning(found: set[str]) -> str:
    return "both" if len(found) > 1 else min(found, default="raw")


def _note_use(view: GraphView, node: NodeView, inputs: list[_Lane], uses: dict[int, set[str]]) -> None:
    """A probability makes its sources scores; arithmetic makes them boxes, save for the product of two scores."""
    sources = frozenset().union(*(lane.sources for lane in inputs))
    if node.op in PROBABILITIES and not _over_bins(view, node):
        use = "scores"
    elif node.op in _ARITHMETIC and not _scores_times_scores(node, inputs):
        use = "boxes"
    else:
        return
    for source in sources:
        uses[source].add(use)


def _over_bins(view: GraphView, node: NodeView) -> bool:
    """Whether a Softmax is that of a distribution whose expectation follows."""
    users = readers(view, node.outputs[0])
    for _ in range(6):
        if len(users) != 1 or users[0].op not in CARRIES:
            break
        users = readers(view, users[0].outputs[0])
    return node.op == "Softmax" and any(_expects(view, user) for user in users)


def _expects(view: GraphView, node: NodeView) -> bool:
    """Whether a node takes an expectation: a product with constant weights, or times constant bins, then a sum."""
    if node.op == "Mul" and constant_operand(view, node) is not None:
        return any(user.op == "ReduceSum" for user in readers(view, node.outputs[0]))
    return node.index in weighted(view)


def _scores_times_scores(node: NodeView, inputs: list[_Lane]) -> bool:
    return node.op == "Mul" and len(inputs) == 2 and all(lane.value == "probability" for lane in inputs)


def _outputs(view: GraphView, node: NodeView, inputs: list[_Lane]) -> list[_Lane]:
    first = inputs[0]
    if node.op == "Concat":
        return [_joined(view, node, inputs)]
    if node.op == "Split":
        return _split(view, node, first)
    if node.op in CARRIES:
        return [_moved(view, node, first)] * len(node.outputs)
    sources = frozenset().union(*(lane.sources for lane in inputs))
    scores = (node.op in PROBABILITIES and not _over_bins(view, node)) or _scores_times_scores(node, inputs)
    whole = first.merged() if len(inputs) > 1 or node.op not in PROBABILITIES else first
    pieces = whole.pieces if whole.axis is not None else ((0, sources),)
    return [_Lane("probability" if scores else "computed", whole.axis, pieces)] * len(node.outputs)


def _joined(view: GraphView, node: NodeView, inputs: list[_Lane]) -> _Lane:
    values = {lane.value for lane in inputs}
    value = values.pop() if len(values) == 1 else "mixed"
    axis = _axis(view, node)
    sources = frozenset().union(*(lane.sources for lane in inputs))
    if axis is not None and all(lane.axis == axis for lane in inputs):
        return _Lane(value, axis, tuple(piece for lane in inputs for piece in lane.pieces))
    lengths = {(lane.axis, tuple(length for length, _ in lane.pieces)) for lane in inputs}
    if len(lengths) > 1 or inputs[0].axis is None:
        return _Lane(value, None, ((0, sources),))
    stacked = zip(*(lane.pieces for lane in inputs), strict=True)
    return _Lane(value, inputs[0].axis, tuple((p[0][0], frozenset().union(*(s for _, s in p))) for p in stacked))


def _split(view: GraphView, node: NodeView, lane: _Lane) -> list[_Lane]:
    axis = _axis(view, node, default=0)
    if lane.axis is None or lane.axis != axis:
        return [lane] * len(node.outputs)
    given = node.attrs.get("split") or (view.small.get(node.inputs[1]) if len(node.inputs) > 1 else None)
    total, count = sum(length for length, _ in lane.pieces), len(node.outputs)
    step = -(-total // count)
    sizes = [int(s) for s in given] if isinstance(given, tuple) else [step] * (count - 1) + [total - step * (count - 1)]
    ends = list(accumulate(sizes))
    return [lane.cut(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _moved(view: GraphView, node: NodeView, lane: _Lane) -> _Lane:
    """A lane through a node that only moves values; the axis is lost where it cannot be followed."""
    if lane.axis is None or node.op in _KEEPS:
        return lane
    if node.op == "Transpose":
        perm = node.attrs.get("perm")
        known = isinstance(perm, tuple) and lane.axis in perm
        return replace(lane, axis=perm.index(lane.axis)) if isinstance(perm, tuple) and known else lane.merged()
    if node.op == "Slice":
        return _sliced(view, node, lane)
    before, after = (_shape(view, name) for name in (node.inputs[0], node.outputs[0]))
    kept = slice(0, lane.axis + 1)
    if node.op in {"Reshape", "Flatten"} and before and after and before[kept] == after[kept]:
        return lane
    return lane.merged()


def _sliced(view: GraphView, node: NodeView, lane: _Lane) -> _Lane:
    ports = [view.small.get(name) for name in node.inputs[1:]]
    shape = _shape(view, node.inputs[0])
    if len(ports) < 3 or shape is None or any(port is None or len(port) != 1 for port in ports):
        return lane.merged()
    start, end, axis, *step = (int(port[0]) for port in ports if port)
    if axis % len(shape) != lane.axis:
        return lane
    total = sum(length for length, _ in lane.pieces)
    start, end = (at + total if at < 0 else min(at, total) for at in (start, end))
    return lane.cut(start, end) if step in ([], [1]) else lane.merged()


def _axis(view: GraphView, node: NodeView, default: int | None = None) -> int | None:
    axis, shape = node.attrs.get("axis", default), _shape(view, node.inputs[0])
    if not isinstance(axis, int) or (axis < 0 and shape is None):
        return None
    return axis % len(shape) if shape else axis


def _shape(view: GraphView, tensor: str) -> tuple[object, ...] | None:
    known = view.tensors.get(tensor)
    return None if known is None else known.shape
