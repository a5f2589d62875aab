"""Integer products of a file that is measured as it is which not every CPU that the target names adds exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdsl.capability.sums import PAIRS
from qdsl.diag import Diagnostic, Severity
from qdsl.findings.as_it_runs import integer_products
from qdsl.plan import Decisions
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain
from qdsl.targets.sums import INEXACT_ON, INEXACT_WHY, constants, inexact_families, product_faults
from qdsl.work.prepared import Prepared

_SHOWN = 3
_NAME = 60
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
    faults = {fault: [one for one in found if one.fault == fault] for fault in INEXACT_ON}
    where = " and ".join(INEXACT_ON[fault] for fault, ones in faults.items() if ones)
    notes = [f"{_named(ones)}: {INEXACT_WHY[fault]}" for fault, ones in faults.items() if ones]
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
    for family, cpus in inexact_families(context.capability, context.cpus).items():
        for product in integer_products(prepared, decided, family):
            for fault, sums in product_faults(product, context.capability, cpus):
                yield _Inexact(product.node, fault, sums.option, bool(constants(product, sums)))


def _named(ones: list[_Inexact]) -> str:
    names = ", ".join(plain(one.node)[:_NAME] for one in ones[:_SHOWN])
    return names + (f" and {len(ones) - _SHOWN} more" if len(ones) > _SHOWN else "")
