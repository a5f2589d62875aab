"""Integer products that some CPUs add up wrongly, told from the file's own integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.signs import unsigned
from qdsl.auditing.standing import prediction, standing
from qdsl.auditing.telling import shown
from qdsl.capability.sums import PAIRS
from qdsl.diag import Severity
from qdsl.finished.codes import codes, zeros
from qdsl.finished.records import Form, QuantizedTensor
from qdsl.graph.integer_operators import Factor, IntegerOperator, multiplying
from qdsl.graph.view import NodeView
from qdsl.targets.results import Operand, Product
from qdsl.targets.sums import INEXACT_ON, INEXACT_WHY, inexact_families, product_faults

_BYTES = ("int8", "uint8")
_OPS = frozenset({"Conv", "Gemm", "MatMul"})
_X86 = "x86"
_BUILT = "; what qdsl builds for all CPUs has int8 weights in the least wider steps that keep their sums exact"


class Check:
    id: ClassVar[str] = "sums_inexact"
    summary: ClassVar[str] = "integer products can add up wrongly on some CPUs"
    explanation: ClassVar[str] = (
        "The same file answers otherwise than on the CPU that it was tested on: x86 without VNNI (Intel before "
        "Cascade Lake, AMD Zen 1 to 3) adds products of uint8 and int8 two by two in saturating int16, and 64-bit Arm "
        "without dot product (Raspberry Pi 3 and 4) wraps where -128 meets -128. A pair of weights of one sign that "
        "come to more than 128 can saturate; measured without VNNI, a YOLOv8n on COCO loses 4.6 points of mAP where "
        "the file's own arithmetic loses 1.8. Weights of uint8 beside uint8 are added exactly everywhere; qdsl stores "
        "int8 weights in the least wider steps that keep their sums exact. `target ort { cpu .. }` says which kinds of "
        "CPU are meant: with `--recipe` no others are asked about."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ("ort",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        families = inexact_families(audited.capability, audited.cpus)
        for product, signed in _products(audited) if families else ():
            found = {
                fault
                for family, cpus in families.items()
                for fault, _ in product_faults(_as_on(product, family, signed), audited.capability, cpus)
            }
            for fault in sorted(found, reverse=True):  # pairs before lowest
                yield self._told(fault, product, audited)

    def _told(self, fault: str, product: Product, audited: Audited) -> Finding:
        where = "in saturating int16" if fault == PAIRS else "in int16 that wraps"
        stored = product.weight.codes is not None or product.data.codes is not None
        return Finding(
            self.id,
            Severity.WARNING,
            Place("node", product.node),
            f"the products of {shown(product.node)} can add up wrongly on {INEXACT_ON[fault]}",
            f"{product.kernel} adds them {where} there: {INEXACT_WHY[fault]}{_BUILT if stored else ''}",
            fix=None if stored else unsigned(audited, _multiplied(audited, product.node)),
        )


def _multiplied(audited: Audited, name: str) -> list[QuantizedTensor]:
    node = audited.collapsed.view.node(name)
    read = [standing(audited).read(node, port) for port in range(len(node.inputs))]
    return [each for each in read if each is not None]


def _products(audited: Audited) -> Iterator[tuple[Product, frozenset[str]]]:
    """What the kernels of the target multiply, in graph order, with those of its factors ("data", "weight") whose int8
    becomes uint8 on x86. The integers of one node are read at a time."""
    for node in audited.finished.view.nodes:
        operator = multiplying(node.op, node.domain)
        if operator is not None:
            yield from ((product, frozenset()) for product in _written(audited, node, operator))
            continue
        found = prediction(audited, node.name)
        if node.op in _OPS and found is not None and found.runs == "integer" and found.kernel:
            yield from _between_pairs(audited, node, found.kernel)


def _as_on(product: Product, family: str, signed: frozenset[str]) -> Product:
    """ONNX Runtime computes with uint8 on x86 where one Q feeds one DQ."""
    if family != _X86:
        return product
    turned = {name: replace(getattr(product, name), dtype="uint8") for name in signed}
    return replace(product, **turned)


def _between_pairs(audited: Audited, node: NodeView, kernel: str) -> Iterator[tuple[Product, frozenset[str]]]:
    stands = standing(audited)
    data, weight = stands.read(node, 0), stands.read(node, 1)
    if weight is None or weight.parameters.element not in _BYTES:
        return
    if data is not None and data.parameters.element not in _BYTES:
        return
    left = _operand(audited, data, not node.attrs.get("transA", 0)) if data is not None else Operand("uint8")
    right = _operand(audited, weight, bool(node.attrs.get("transB", 0)))
    group = node.attrs.get("group", 1)
    turned = {"data": data, "weight": weight}
    signed = frozenset(name for name, record in turned.items() if record is not None and _is_turned(record))
    yield Product(node.name, kernel, left, right, group if isinstance(group, int) else 1), signed


def _is_turned(record: QuantizedTensor) -> bool:
    alone = len(record.quantizers) == len(record.dequantizers) == len(record.readers) == 1
    return alone and record.form is Form.PAIR and record.parameters.element == "int8"


def _operand(audited: Audited, record: QuantizedTensor, turned: bool) -> Operand:
    zero = zeros(record.parameters, ()) if record.parameters.zero_point is None else record.parameters.zero_point
    one_zero = zero is not None and np.unique(zero).size == 1
    return Operand(record.parameters.element, codes(audited.finished, record), turned, one_zero=one_zero)


def _written(audited: Audited, node: NodeView, operator: IntegerOperator) -> Iterator[Product]:
    """The products of an operator that stands in the file as it is."""
    data = (
        Operand("uint8")
        if operator.data is None
        else _factor(audited, node, operator.data, not node.attrs.get("transA"))
    )
    group = node.attrs.get("group", 1)
    for factor in operator.weights:
        weight = _factor(audited, node, factor, bool(node.attrs.get("transB")))
        if data is not None and weight is not None:
            yield Product(node.name, node.op, data, weight, group if isinstance(group, int) else 1)


def _factor(audited: Audited, node: NodeView, factor: Factor, turned: bool) -> Operand | None:
    """None where the file does not say that it has 8 bits."""
    view, model = audited.finished.view, audited.finished.model
    name = node.inputs[factor.port] if factor.port < len(node.inputs) else ""
    seen = view.tensors.get(name)
    if seen is None or seen.dtype not in _BYTES:
        return None
    zero = node.inputs[factor.zero] if factor.zero < len(node.inputs) else ""
    known = view.is_constant(zero)
    one_zero = not zero or (known and np.unique(model.values(zero)).size == 1)
    return Operand(seen.dtype, model.values(name) if seen.kind == "constant" else None, turned, one_zero=one_zero)
