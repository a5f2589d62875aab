"""Weights that take more bits in the file than their integers need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import listed, recipe_lines
from qdsl.diag import Severity
from qdsl.finished.codes import codes
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.spec import DTYPES
from qdsl.spec.words import count, mebibytes

_FEWEST = 64  # elements: of fewer it may be chance
_WIDTHS = (2, 4, 8)
_BYTE = 8


@dataclass(frozen=True, slots=True)
class _Wide:
    """A weight whose `bits` are in use of those that it is stored in; the rest are `spare` bytes."""

    record: QuantizedTensor
    bits: int
    spare: int


class Check:
    id: ClassVar[str] = "stored_wide"
    summary: ClassVar[str] = "weights of few bits are stored in a wider type"
    explanation: ClassVar[str] = (
        "The integers of these weights span no more than those of a narrower type: 4 bits in int8 are twice the size, "
        "floats behind Q and DQ four times. Exporters do so on purpose: a runtime without 4 bit types, or an opset "
        "below 21, takes int8, an integer kernel of 8 bits multiplies nothing else, and float weights behind Q and DQ "
        "stay trainable. So it is a note: it costs size, and only where size is asked for is it a fault."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        found = list(_wide(audited))
        narrow = [each for each in found if each.record.form is Form.STORED]
        floats = [each for each in found if each.record.form is Form.FLOAT_PAIR]
        for bits in _WIDTHS:
            yield from self._grouped(audited, [each for each in narrow if each.bits == bits], "integers")
        yield from self._grouped(audited, floats, "floats")

    def _grouped(self, audited: Audited, wide: list[_Wide], stored: str) -> Iterator[Finding]:
        if not wide:
            return
        names = [_node(each.record) for each in wide]
        bits = max(each.bits for each in wide)
        are = f"{count(len(wide), 'weight')} {'is' if len(wide) == 1 else 'are'}"
        of = f"{bits} bits in a wider type" if stored == "integers" else f"{bits} bits as floats, before a Q and a DQ"
        yield Finding(
            self.id,
            Severity.NOTE,
            Place("node", names[0]),
            f"{are} stored as {of}: {listed([each.record.tensor for each in wide])}",
            f"{mebibytes(sum(each.spare for each in wide))} of the file hold nothing",
            also=tuple(Place("node", name) for name in names[1:]),
            fix=_narrower(wide, bits) if stored == "integers" else None,
        )


def _node(record: QuantizedTensor) -> str:
    """The node that multiplies by the weight; what dequantizes it where nobody reads that."""
    return next((each.node for each in record.readers if each.node), (*record.dequantizers, "")[0])


def _narrower(wide: list[_Wide], bits: int) -> Fix | None:
    nodes = list(dict.fromkeys(each.node for one in wide for each in one.record.readers if each.node))
    return recipe_lines(f"layers {{}} {{ weights int{bits} storage_only }}", *nodes)


def _wide(audited: Audited) -> Iterator[_Wide]:
    seen: set[str] = set()
    for record in audited.finished.tensors:
        if record.role is not Role.WEIGHT or record.stored in seen or record.parameters.element not in DTYPES:
            continue
        seen.add(record.stored)
        stored = audited.finished.view.tensors.get(record.stored)
        if stored is not None and stored.kind == "constant" and (stored.elements or 0) >= _FEWEST:
            yield from _of(audited, record)


def _of(audited: Audited, record: QuantizedTensor) -> Iterator[_Wide]:
    """What a weight takes more than it has to."""
    lazy = audited.finished.model.lazy(record.stored)
    as_floats = record.form is Form.FLOAT_PAIR
    needs = _bits_of_floats(record) if as_floats else _bits(audited, record)
    if needs is None or (not as_floats and needs >= DTYPES[record.parameters.element].bits):
        return
    spare = lazy.nbytes - (prod(lazy.shape) * needs + _BYTE - 1) // _BYTE
    if spare > 0:
        yield _Wide(record, needs, spare)


def _bits_of_floats(record: QuantizedTensor) -> int:
    made = record.parameters
    if made.low is not None and made.high is not None:
        return _least(made.high - made.low)
    return DTYPES[made.element].bits


def _bits(audited: Audited, record: QuantizedTensor) -> int | None:
    """How many bits tell the stored integers apart, whatever they are counted from; None where they are none or packed.
    Reads the weight."""
    found = codes(audited.finished, record)
    return None if found is None or not found.size else _least(int(found.max()) - int(found.min()))


def _least(span: int) -> int:
    return next((bits for bits in _WIDTHS if span < 1 << bits), DTYPES["int16"].bits)
