"""What is known of a box, in words: pairs of a heading and a text, for the panel beside the drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from qdsl.auditing.formats.drawing import Box, Drawing
from qdsl.auditing.formats.svg import decibels
from qdsl.auditing.formats.wiring import OUTSIDE, Wiring
from qdsl.auditing.report import AuditReport, Section, TensorFacts
from qdsl.spec.words import count, plain, shortened

_SHOWN = 6  # names of a list
_LONGEST = 400  # characters of one name
Pair = tuple[str, str]


def named(words: str) -> str:
    """Words of a file as they are shown: plain, and no longer than a panel can hold."""
    return shortened(plain(words), _LONGEST)


def facts(wiring: Wiring, drawing: Drawing) -> dict[str, Any]:
    """All that a script shows on demand, as what JSON knows; every text is plain."""
    report = wiring.report
    writes, reads = _neighbours(drawing)
    held = [_held(wiring, box) for box in drawing.boxes]
    sharing = Counter(tensor.group for tensor in report.tensors if tensor.role == "activation")
    return {
        "targets": [section.target for section in report.sections],
        "boxes": [
            {
                "kind": box.kind,
                "name": named(box.name),
                "op": named(box.op),
                "facts": list(_facts(wiring, box)),
                "runs": [list(_runs(section, box)) for section in report.sections],
                "tensors": held[at],
                "above": writes.get(at, []),
                "below": reads.get(at, []),
            }
            for at, box in enumerate(drawing.boxes)
        ],
        "tensors": {
            number: list(_tensor(report, report.tensors[number], sharing))
            for number in sorted({number for each in held for number in each})
        },
    }


def _held(wiring: Wiring, box: Box) -> list[int]:
    """The quantized tensors that are told of at a box: what it writes, and the constants that it reads."""
    return sorted({*box.tensors, *(wiring.held.get(box.node, ()) if box.node != OUTSIDE else ())})


def _neighbours(drawing: Drawing) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    writes: dict[int, list[int]] = {}
    reads: dict[int, list[int]] = {}
    for line in drawing.lines:
        writes.setdefault(line.target, []).append(line.source)
        reads.setdefault(line.source, []).append(line.target)
    return writes, reads


def _facts(wiring: Wiring, box: Box) -> Iterator[Pair]:
    report = wiring.report
    if box.kind != "node":
        yield "type", named(report.types.get(box.name, "not known"))
        return
    node = report.nodes[box.node]
    if node.domain:
        yield "domain", named(node.domain)
    for name, tensors in (("reads", node.inputs), ("writes", node.outputs)):
        told = [_typed(report, tensor) for tensor in tensors if tensor]
        if told:
            yield name, _list(told)
    if node.macs is None:
        yield "MACs", "not known"
    elif node.macs:
        yield "MACs", f"{node.macs:,}"
    inherited = [known for name in node.outputs if (known := report.errors.get(name)) is not None]
    for known in inherited:
        if known.inherited_db is not None:
            yield "error that arrives", decibels(known.inherited_db)


def _runs(section: Section, box: Box) -> tuple[str, ...]:
    """(runs, kernel, row, because), empty for inputs and outputs."""
    verdict = section.runs.get(box.name) if box.kind == "node" else None
    if verdict is None:
        return ()
    return verdict.runs, named(verdict.kernel), named(verdict.row), named(verdict.because)


def _tensor(report: AuditReport, tensor: TensorFacts, sharing: Mapping[str, int]) -> Iterator[Pair]:
    yield tensor.role, named(tensor.tensor or tensor.stored)
    axis = "" if tensor.axis is None else f" along axis {tensor.axis}"
    block = "" if tensor.block is None else f", blocks of {tensor.block}"
    yield "type", f"{named(tensor.element)} {tensor.granularity.replace('_', ' ')}{axis}{block}"
    yield "scale", _range(tensor.scale_low, tensor.scale_high, tensor.scales)
    if tensor.zero_low is not None:
        yield "zero point", _range(tensor.zero_low, tensor.zero_high, 1)
    if tensor.low is not None or tensor.high is not None:
        yield "held to", f"{tensor.low} .. {tensor.high}"
    yield "how", tensor.form.replace("_", " ")
    nodes = (*tensor.quantizers, *tensor.between, *tensor.dequantizers)
    if nodes:
        yield "nodes", _list([named(name) for name in nodes])
    if tensor.role == "activation" and tensor.scale_low is not None and sharing[tensor.group] > 1:
        yield "same scale", f"as {count(sharing[tensor.group] - 1, 'other tensor')}"
    error = report.errors.get(tensor.tensor)
    if error is not None and error.own_db is not None:
        yield "its own error", decibels(error.own_db)
    if tensor.origin:
        yield "asked by", named(tensor.origin)


def _range(low: float | None, high: float | None, many: int) -> str:
    if low is None or high is None:
        return "computed at run time"
    told = f"{low:.6g}" if low == high else f"{low:.4g} .. {high:.4g}"
    return told if many < 2 else f"{told} ({many:,} values)"


def _typed(report: AuditReport, tensor: str) -> str:
    kind = report.types.get(tensor)
    return named(f"{tensor} {kind}" if kind else tensor)


def _list(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more
