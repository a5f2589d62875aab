"""Whether the range of a scale fits what stands before and behind it, told from the file alone.

What a product gives is about as large as its weights and its input make it: the root of the sum of squares of a
channel, times the range of the input. So is what is behind an activation function. Where calibration made both scales,
the range of the output over that size is much alike in all layers. A scale alone that is far too narrow makes it small
for the node that writes the tensor and large for those that read it; one that is far too wide, the reverse.

Both have to be seen at once: one alone is far off where a graph is odd (0.025 and 35 in healthy files). Of 4,500
tensors in healthy files (eight classifiers and detectors and a keyword transformer, quantized by onnxruntime and by
qdsl with minmax, percentile and entropy; small ones by seven other tools) none is over 3.2 times narrow or 4.7 times
wide both ways.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from qdsl.auditing.reach import MONOTONE, reaches
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit, standing
from qdsl.auditing.weights import channels
from qdsl.finished.codes import span
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.graph.moves import moved
from qdsl.graph.view import NodeView
from qdsl.predict.bounds import Interval, clip_limits

_SUSPECT = 0.15  # of what a node would give: nine of ten ranges are over 0.37
_STEPS = 3  # nodes between a product and the QuantizeLinear of what it gives
# What they give is about as large as the largest of what they read.
_LIKE_INPUTS = frozenset({"Add", "AveragePool", "GlobalAveragePool", "Sub"})
_BOUNDED = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, slots=True)
class Fit:
    """A quantized activation: `size` is the larger end of its range. `written`: that size over what the node that
    writes it, `writer`, would give; `read`: the same of its readers, in the middle. None where nothing tells.
    `bounded`: a Clip behind the writer cuts off on purpose. `clipped_input`: what the writer reads looks cut off, so
    that what it would give is not known."""

    record: QuantizedTensor
    size: float
    writer: str
    written: float | None
    read: float | None
    bounded: bool
    clipped_input: bool


@once_per_audit
def fits(audited: Audited) -> tuple[Fit, ...]:
    """Every activation that a QuantizeLinear with one scale makes integers, in graph order. Linear in the size of the
    graph."""
    found: list[Fit] = []
    by_writer: dict[str, float] = {}
    for record in audited.finished.tensors:
        held = span(record.parameters) if record.role is Role.ACTIVATION else None
        if held is None or record.form not in (Form.PAIR, Form.LONE_QUANTIZE):
            continue
        size = max(map(abs, held))
        writer, expected, bounded = _expected(audited, record)
        written = size / expected if expected else None
        if writer and written is not None:
            by_writer[writer] = written
        found.append(Fit(record, size, writer, written, None, bounded, clipped_input=False))
    cut = {each.record.tensor for each in found if each.written is not None and each.written < _SUSPECT}
    return tuple(
        replace(fit, read=_read(fit.record, by_writer), clipped_input=_reads(audited, fit.writer, cut)) for fit in found
    )


def _reads(audited: Audited, node: str, tensors: Set[str]) -> bool:
    """Whether `node` reads one of `tensors`."""
    if not node:
        return False
    ports = range(len(audited.finished.view.node(node).inputs))
    records = (standing(audited).reads.get((node, port)) for port in ports)
    return any(record is not None and record.tensor in tensors for record in records)


def _read(record: QuantizedTensor, by_writer: Mapping[str, float]) -> float | None:
    found = [by_writer[each.node] for each in record.readers if each.node in by_writer]
    return median(found) if found else None


def _expected(audited: Audited, record: QuantizedTensor) -> tuple[str, float | None, bool]:
    """The node whose values a QuantizeLinear makes integers of, about how large they are, and whether a Clip stands
    between the two."""
    view = audited.finished.view
    limit = math.inf
    tensor = view.node(record.quantizers[0]).inputs[0]
    for _ in range(_STEPS):
        node = view.producer(tensor)
        if node is None or node.name in standing(audited).at:
            return "", None, False
        if node.op not in _BOUNDED or node.domain:
            size = _size(audited, node)
            return node.name, None if size is None else min(size, limit), math.isfinite(limit)
        ends = clip_limits(node, view)
        limit = min(limit, max(map(abs, ends)) if ends else math.inf)
        if _is_read(audited, node):
            size = _finite(min(limit, _largest(reaches(audited)[node.inputs[0]])))
            return node.name, size, math.isfinite(limit)
        tensor = node.inputs[0]
    return "", None, False


def _is_read(audited: Audited, node: NodeView) -> bool:
    """Whether a node reads a quantized activation itself."""
    return standing(audited).read(node, 0) is not None


def _size(audited: Audited, node: NodeView) -> float | None:
    weight = channels(audited).get(node.name)
    known = reaches(audited)
    if weight is not None and weight.norm.size:
        data = node.inputs[0 if weight.port else 1]
        return _finite(float(np.median(weight.norm)) * _largest(known[data]))
    if node.domain or not node.inputs:
        return None
    if held := moved(node):
        return _finite(max(_largest(known.get(name, (0.0, math.inf))) for name in held))
    if node.op in _LIKE_INPUTS:
        return _finite(max(_largest(known.get(name, (0.0, math.inf))) for name in node.inputs if name))
    if node.op in MONOTONE or _is_silu(audited, node):
        return _finite(_largest(known[node.outputs[0]]))
    return None


def _is_silu(audited: Audited, node: NodeView) -> bool:
    """Whether a Mul multiplies a tensor by its own Sigmoid, each perhaps through a pair."""
    if node.op != "Mul" or len(node.inputs) != 2:
        return False
    return any(_behind_sigmoid(audited, gate) == _behind_pair(audited, data) for data, gate in _turns(node.inputs))


def _turns(pair: tuple[str, ...]) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair[0], pair[1]), (pair[1], pair[0])


def _behind_sigmoid(audited: Audited, tensor: str) -> str:
    """The tensor whose Sigmoid this is, with its pairs taken off; "" for anything else."""
    node = audited.finished.view.producer(_behind_pair(audited, tensor))
    return _behind_pair(audited, node.inputs[0]) if node is not None and node.op == "Sigmoid" else ""


def _behind_pair(audited: Audited, tensor: str) -> str:
    """The tensor that a pair stands for, which may be behind another pair."""
    view, at = audited.finished.view, standing(audited).at
    for _ in range(2 * _STEPS):
        node = view.producer(tensor)
        if node is None or node.name not in at:
            break
        tensor = node.inputs[0]
    return tensor


def _largest(ends: Interval) -> float:
    return max(map(abs, ends))


def _finite(size: float) -> float | None:
    return size if math.isfinite(size) and size > 0 else None
