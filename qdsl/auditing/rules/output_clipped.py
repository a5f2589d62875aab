"""Scales that cut off most of what a node gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.joined import joined
from qdsl.auditing.magnitudes import Fit, fits
from qdsl.auditing.reach import reaches
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.auditing.weights import bias_values, channels
from qdsl.diag import Severity
from qdsl.finished.codes import span
from qdsl.graph.view import NodeView

# A healthy file has under 3.2, both ways at once.
_APART = 7.0
# With nothing behind that tells: the least of a healthy file is 0.025, of nodes with several channels 0.077.
_LAST, _LAST_OF_MANY, _MANY = 0.01, 0.04, 8
_BIAS = 4.0  # times that a bias is past the range; the least of a healthy file is 1.6
# How much further its reader's scale reaches than it still can: behind a function that saturates.
_READER, _SUSPECT = 1.5, 0.15
_RELU6 = 6.0
_SATURATING = frozenset({"Sigmoid", "Tanh", "HardSigmoid"})


class Check:
    id: ClassVar[str] = "output_clipped"
    summary: ClassVar[str] = "a scale holds only a small part of what the node gives: values saturate"
    explanation: ClassVar[str] = (
        "Values past the ends of a scale become its ends: logits that are all alike, features cut off. A file shows "
        "it without data where a range is far below what the weights make of the input and the nodes behind were made "
        "for far more; where the bias alone passes it; or where a Sigmoid behind can no longer reach what its own "
        "scale was made for. Told from seven times on, more at the last node, of which nothing reads: less is a choice "
        "that calibration by percentile or entropy makes, too."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for fit in fits(audited):
            why = _evidence(audited, fit)
            held = span(fit.record.parameters)
            if not why or held is None or joined(audited, fit.record):
                continue
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("tensor", fit.record.tensor),
                f"the scale of {shown(fit.record.tensor)} holds [{held[0]:.3g}, {held[1]:.3g}]: "
                f"{shown(fit.writer)} gives more",
                why,
                fix=recipe_lines("layers tensor {} { calibrate minmax }", fit.record.tensor),
                origin=fit.record.origin,
            )


def _evidence(audited: Audited, fit: Fit) -> str:
    """What shows that a range cuts much off; "" for nothing."""
    if fit.written is None:
        return ""
    times = 1 / fit.written if fit.written else 0.0
    if fit.read is not None:
        if fit.written < 1 / _APART and fit.read > _APART:
            return f"its weights and inputs make {times:.0f} times as much, and what reads it is made for more"
    elif _product(audited, fit) and fit.written < _least(audited, fit):
        return f"its weights and inputs make {times:.0f} times as much"
    return _past_bias(audited, fit) or _past_reader(audited, fit)


def _product(audited: Audited, fit: Fit) -> bool:
    """Whether a product writes it that no saturating function reads: there the rest of the range is cut on purpose."""
    readers = {audited.finished.view.node(each.node).op for each in fit.record.readers if each.node}
    return fit.writer in channels(audited) and not readers & _SATURATING


def _least(audited: Audited, fit: Fit) -> float:
    many = channels(audited)[fit.writer].norm.size >= _MANY
    return _LAST_OF_MANY if many else _LAST


def _past_bias(audited: Audited, fit: Fit) -> str:
    """A bias that the range does not hold; behind a Relu, negative ones do not count."""
    node, held = audited.finished.view.node(fit.writer), span(fit.record.parameters)
    if node.op not in ("Conv", "Gemm") or held is None or fit.bounded or _is_relu6(held[1]):
        return ""
    bias = bias_values(audited, node)
    if bias is None or not bias.size:
        return ""
    low, high = float(bias.min()), float(bias.max())
    if high > _BIAS * held[1] > 0 or (held[0] < 0 and low < _BIAS * held[0]):
        return f"its bias alone reaches {high if high > _BIAS * held[1] else low:.3g}"
    return ""


def _is_relu6(high: float) -> bool:
    """Whether a range ends where a ReLU6 does, which quantizers fold into it."""
    return abs(high - _RELU6) < _RELU6 / 100


def _past_reader(audited: Audited, fit: Fit) -> str:
    """A function behind that can no longer reach what its own scale was made for."""
    if fit.written is None or fit.written > _SUSPECT:
        return ""
    view, stands, known = audited.finished.view, standing(audited), reaches(audited)
    for reader in fit.record.readers:
        node: NodeView | None = view.node(reader.node) if reader.node else None
        if node is None or node.op not in _SATURATING:
            continue
        for record in stands.writes.get(node.outputs[0], ()):
            held, can = span(record.parameters), known[node.outputs[0]]
            if held is not None and held[1] > _READER * max(map(abs, can)) > 0:
                return f"{shown(node.name)} can reach {can[1]:.3g} with it, and its scale is made for {held[1]:.3g}"
    return ""
