"""Integer products of a file that is measured as it is which not every CPU that the target names adds exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qdsl.capability import Capability
from qdsl.capability.sums import LOWEST, PAIRS, Sums
from qdsl.diag import Diagnostic, Severity
from qdsl.findings.as_it_runs import integer_products
from qdsl.plan import Decisions
from qdsl.plan.guards import needed_guard
from qdsl.quant.guard import exact
from qdsl.spec import DTYPES
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain
from qdsl.targets.results import Operand, Product
from qdsl.work.prepared import Prepared

_SHOWN = 3
_NAME = 60
_ON = {PAIRS: "x86 without VNNI", LOWEST: "Arm without dot product"}
_WHY = {
    PAIRS: "two neighbouring products can pass int16, and saturate",
    LOWEST: "where -128 meets -128 the sum wraps",
}
_GUARDED = "quantize the float model with qdsl: such weights get the least wider scale that keeps their sums exact"
_UNSIGNED = (
    "have activations that are multiplied with each other as uint8 on both sides: such products are added exactly"
)


@dataclass(frozen=True, slots=True)
class _Inexact:
    """A node whose products can show a fault. `stored`: one of the factors is a constant."""

    node: str
    fault: str
    option: str
    stored: bool


def inexact_sums(prepared: Prepared, decided: Decisions) -> Iterator[Diagnostic]:
    """One warning about all of them, under `quantize none`; none where every sum is exact. Reads the weights."""
    if decided.plan.mode != AS_IT_IS:
        return
    found = list(dict.fromkeys(_inexact(prepared, decided)))
    if not found:
        return
    faults = {fault: [one for one in found if one.fault == fault] for fault in _ON}
    where = " and ".join(_ON[fault] for fault, ones in faults.items() if ones)
    notes = [f"{_named(ones)}: {_WHY[fault]}" for fault, ones in faults.items() if ones]
    nodes = len({one.node for one in found})
    yield Diagnostic(
        "sums-inexact",
        f"the products of {nodes} node{'s' * (nodes > 1)} can add up wrongly on {where}",
        decided.context.cascade.mode.span,
        help=_cures(found),
        notes=tuple(notes),
        severity=Severity.WARNING,
    )


def _cures(found: list[_Inexact]) -> tuple[str, ...]:
    cures = []
    if any(one.stored for one in found):
        cures.append(_GUARDED)
    if not all(one.stored for one in found):
        cures.append(_UNSIGNED)
    cures.append("`target ort { cpu x86_vnni, arm_dotprod }` says that the model runs on no other CPU")
    option = next((one.option for one in found if one.fault == PAIRS and one.option and one.stored), "")
    if option:
        cures.append(f"where a program may set session options, `{option}` = 1 keeps ONNX Runtime exact on x86")
    return tuple(cures)


def _inexact(prepared: Prepared, decided: Decisions) -> Iterator[_Inexact]:
    """Graph by graph: the runtime makes another one of a file on x86 than on Arm."""
    context = decided.context
    for family, cpus in _families(context.capability, context.cpus).items():
        for product in integer_products(prepared, decided, family):
            sums = context.capability.sums_of(product.kernel, DTYPES[product.weight.dtype])
            if sums is None:
                continue
            for fault in sorted(sums.faults_on(cpus)):
                if _shows(fault, product, sums, cpus):
                    yield _Inexact(product.node, fault, sums.option, bool(_constants(product, sums)))


def _families(capability: Capability, cpus: frozenset[str]) -> dict[str, frozenset[str]]:
    """The kinds of CPU among `cpus` on which some kernel is not exact, by family."""
    found: dict[str, frozenset[str]] = {}
    for cpu in capability.cpus:
        if cpu.name in cpus and any(sums.faults_on({cpu.name}) for sums in capability.sums):
            found[cpu.family] = found.get(cpu.family, frozenset()) | {cpu.name}
    return found


def _shows(fault: str, product: Product, sums: Sums, cpus: frozenset[str]) -> bool:
    """Whether some activations can show a fault: unsigned bytes that meet signed ones are added in pairs, and no
    constant rules it out."""
    if fault == PAIRS and product.data.dtype == product.weight.dtype:
        return False
    return not any(_rules_out(fault, one, product, sums, cpus) for one in _constants(product, sums))


def _constants(product: Product, sums: Sums) -> list[Operand]:
    """Of a convolution the weight alone: its data is no matrix."""
    operands = [product.data, product.weight] if sums.order == "rows" else [product.weight]
    return [one for one in operands if one.codes is not None]


def _rules_out(fault: str, one: Operand, product: Product, sums: Sums, cpus: frozenset[str]) -> bool:
    """Whether the stored integers of one factor keep the sums exact, whatever the other holds."""
    assert one.codes is not None, "a constant"
    if fault == LOWEST:
        return not bool((one.codes == np.iinfo(one.codes.dtype).min).any())
    shape = one.codes.shape
    needed = needed_guard(sums, cpus, shape, groups=product.groups, turned=one.turned, one_zero=one.one_zero)
    return bool(exact(one.codes, needed).all())


def _named(ones: list[_Inexact]) -> str:
    names = ", ".join(plain(one.node)[:_NAME] for one in ones[:_SHOWN])
    return names + (f" and {len(ones) - _SHOWN} more" if len(ones) > _SHOWN else "")
