"""Layers that keep float weights in a file whose other layers are quantized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, left_in_floats, mostly_signed, passes_integers, weights
from qdsl.auditing.telling import listed, recipe_lines
from qdsl.diag import Severity
from qdsl.finished.records import Form, Role
from qdsl.graph.neighbours import Weight
from qdsl.graph.view import NodeView
from qdsl.spec.words import count, mebibytes, percent

# Of all stored bytes: what is less is not worth a word, what is more makes the file as large as if nothing was done.
_LEAST, _MUCH = 0.01, 0.1
_SAVED = 0.75  # one byte of four


@dataclass(frozen=True, slots=True)
class _Layer:
    node: str
    bytes: int


class Check:
    id: ClassVar[str] = "float_weights_left"
    summary: ClassVar[str] = "layers keep float weights where the rest is quantized"
    explanation: ClassVar[str] = (
        "Nothing of such a layer is quantized, neither its weights nor what it reads. That is right for a layer that "
        "loses too much (a decoding, a last layer), and often an oversight: one large layer outweighs all that the "
        "others save. It is a note up to a tenth of the stored bytes, and a warning beyond."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        if not passes_integers(audited):
            return
        total = audited.finished.model.constant_bytes
        layers = [each for each in _float_layers(audited) if each.bytes >= _LEAST * total]
        if not layers:
            return
        held = sum(each.bytes for each in layers)
        names = [each.node for each in layers]
        largest = max(layers, key=lambda each: each.bytes)
        yield Finding(
            self.id,
            Severity.WARNING if held > _MUCH * total else Severity.NOTE,
            Place("node", largest.node),
            f"{count(len(names), 'layer')} keep{'s' * (len(names) == 1)} {mebibytes(held)} of float weights, "
            f"{percent(held, total)} of what the file stores: {listed(names)}",
            f"as integers of 8 bits they would take {mebibytes(round(held * _SAVED))} less",
            also=tuple(Place("node", name) for name in names if name != largest.node),
            fix=_cure(audited, names),
        )


def _cure(audited: Audited, names: list[str]) -> Fix | None:
    if audited.target == ORT and mostly_signed(audited):
        return Fix(lines=("layers all { activations uint8 affine }",))
    return recipe_lines("place { quantize inputs of {} }", *names)


def _float_layers(audited: Audited) -> Iterator[_Layer]:
    """The layers of which neither weights nor data are quantized, in graph order."""
    dynamic = _is_dynamic(audited)
    for node, weight in weights(audited):
        left = _is_float(audited, weight.tensor) and left_in_floats(audited, node, weight)
        if left and not (dynamic and _is_small(audited, node, weight)):
            yield _Layer(node.name, audited.finished.model.lazy(weight.tensor).nbytes)


def _is_dynamic(audited: Audited) -> bool:
    """Whether activations are quantized while the model runs, and nowhere else."""
    forms = {each.form for each in audited.finished.tensors if each.role is Role.ACTIVATION}
    return forms <= {Form.DYNAMIC}


def _is_small(audited: Audited, node: NodeView, weight: Weight) -> bool:
    """Whether quantizing what the node reads while the model runs would cost more than it saves, or is not possible."""
    rule = audited.capability.dynamic_for(node)
    channels = [each for each in (weight.in_channels, weight.out_channels) if each is not None]
    return rule is None or not channels or min(channels) // weight.groups < rule.least_channels


def _is_float(audited: Audited, tensor: str) -> bool:
    found = audited.finished.view.tensors.get(tensor)
    return found is not None and found.kind == "constant" and found.dtype == "float32"
