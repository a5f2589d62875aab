"""Integers of 4 bits where TensorRT has no kernel that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT, data_port, standing, weights
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import Parameters, QuantizedTensor, Role
from qdsl.graph.neighbours import Weight
from qdsl.graph.view import Dim, NodeView
from qdsl.spec import Granularity

_FOUR = "int4"
_EIGHT = "layers {} { weights int8 symmetric per_channel }"
_FLOATS = "a kernel of its own makes floats of them at every inference, and the product is one of floats"
_CUT = "TensorRT divides the length by the number of scales, and refuses the file where that leaves a rest"
_Verdict = tuple[Severity, str] | None  # how grave it is, and why; None where there is a kernel
_BLOCKS = "layers {} { weights int4 symmetric per_block 32 }"


class Check:
    id: ClassVar[str] = "four_bits_without_kernel"
    summary: ClassVar[str] = "4 bit integers where TensorRT has kernels for blocks of weights of matrices alone"
    explanation: ClassVar[str] = (
        "TensorRT's kernels for 4 bits multiply float activations by weights of matrices with a scale per block. "
        "TensorRT-RTX 1.7.1 refuses blocks that lie along neither of the last two axes, and does not build activations "
        "of 4 bits, a Conv of them beside quantized activations, nor, there, one scale for the whole weight; in blocks "
        "it builds some and not others. Weights of a Conv and those without blocks, beside floats, it makes floats in "
        "a kernel of its own at every inference, and so it does with a single block, an odd size across the blocks and "
        "a matrix that two nodes read. Blocks that do not divide the length it refuses, or cuts elsewhere. A scale per "
        "channel beside int8 activations computes in int8."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            if record.parameters.element == _FOUR and record.role is Role.ACTIVATION:
                yield self._activation(record)
        for node, weight in weights(audited):
            stored = standing(audited).read(node, weight.port)
            if stored is not None and stored.parameters.element == _FOUR:
                yield from self._weight(audited, node, weight, stored)

    def _activation(self, record: QuantizedTensor) -> Finding:
        return Finding(
            self.id,
            Severity.ERROR,
            Place("tensor", record.tensor),
            f"{shown(record.tensor)} is an activation of 4 bits",
            "TensorRT has 4 bits for weights alone",
            fix=recipe_lines("layers tensor {} { activations int8 symmetric }", record.tensor),
            origin=record.origin,
        )

    def _weight(self, audited: Audited, node: NodeView, weight: Weight, record: QuantizedTensor) -> Iterator[Finding]:
        beside = reads_carried(audited, node, data_port(weight))
        judged = _judged(audited, node, weight, record, beside)
        if judged is None:
            return
        severity, why = judged
        yield Finding(
            self.id,
            severity,
            Place("node", node.name, weight.port),
            f"{shown(node.name)} has weights of 4 bits {_form(record)}, and reads {'integers' if beside else 'floats'}",
            why,
            fix=recipe_lines(_EIGHT if beside or "Conv" in node.op else _BLOCKS, node.name),
            origin=record.origin,
        )


def _judged(audited: Audited, node: NodeView, weight: Weight, record: QuantizedTensor, beside: bool) -> _Verdict:
    made, conv = record.parameters, "Conv" in node.op
    blocks = made.granularity is Granularity.PER_BLOCK
    shape = audited.finished.view.tensors[node.inputs[weight.port]].shape
    if blocks and shape is not None and made.axis is not None and made.axis < len(shape) - 2:
        return Severity.ERROR, "TensorRT refuses the file: blocks lie along the last axis or the one before"
    if not beside:
        return _in_blocks(made, shape, record) if blocks and not conv else (Severity.WARNING, _FLOATS)
    if conv or made.granularity is Granularity.PER_TENSOR:
        return Severity.ERROR, "TensorRT has no kernel for it: the builder fails"
    return (Severity.WARNING, "the builder takes such products in some places and fails in others") if blocks else None


def _in_blocks(made: Parameters, shape: tuple[Dim, ...] | None, record: QuantizedTensor) -> _Verdict:
    """Of a matrix in blocks, beside floats."""
    if shape is None or made.axis is None or made.block is None or len(shape) != 2:
        return None
    length, across = shape[made.axis], shape[1 - made.axis]
    if not isinstance(length, int) or not isinstance(across, int):
        return None
    if length % made.block:
        return Severity.ERROR, f"{length} values are no whole number of blocks of {made.block}: {_CUT}"
    if length == made.block or across % 2 or len(record.readers) > 1:
        return Severity.WARNING, _FLOATS
    return None


def _form(record: QuantizedTensor) -> str:
    granularity = record.parameters.granularity
    return {
        Granularity.PER_TENSOR: "with one scale",
        Granularity.PER_CHANNEL: "with a scale per channel",
    }.get(granularity, "in blocks")
