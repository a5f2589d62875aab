"""Which integer products not every CPU adds exactly, as a table says it, and what keeps a stored weight exact."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from qdsl.capability import Capability
from qdsl.capability.sums import LOWEST, PAIRS, Sums
from qdsl.quant.guard import exact
from qdsl.spec import DTYPES, Guard
from qdsl.targets.results import Operand, Product

INEXACT_ON = {PAIRS: "x86 without VNNI", LOWEST: "Arm without dot product"}
INEXACT_WHY = {
    PAIRS: "two neighbouring products can pass int16, and saturate",
    LOWEST: "where -128 meets -128 the sum wraps",
}


def needed_guard(
    sums: Sums, cpus: Collection[str], shape: Sequence[object], *, groups: object, turned: bool, one_zero: bool
) -> Guard:
    """What a stored weight of `shape` has to keep to on `cpus`. `groups` are those of a convolution, `turned` says that
    products are added along the last axis of a matrix. `one_zero`: its channels have one zero point; with others a
    depthwise Conv leaves the kernel that is spared."""
    faults = sums.faults_on(cpus)
    spared = "depthwise" in sums.spares and one_zero and _depthwise(shape, groups)
    return Guard(_added(sums, len(shape), turned) if PAIRS in faults and not spared else (), LOWEST in faults)


def inexact_families(capability: Capability, cpus: Collection[str]) -> dict[str, frozenset[str]]:
    """The kinds of CPU among `cpus` on which some kernel is not exact, by family."""
    found: dict[str, frozenset[str]] = {}
    for cpu in capability.cpus:
        if cpu.name in cpus and any(sums.faults_on({cpu.name}) for sums in capability.sums):
            found[cpu.family] = found.get(cpu.family, frozenset()) | {cpu.name}
    return found


def product_faults(product: Product, capability: Capability, cpus: Collection[str]) -> Iterator[tuple[str, Sums]]:
    """What some activations can show of a product on `cpus` of one family (a key of `INEXACT_WHY`), and the row of the
    table that says so."""
    sums = capability.sums_of(product.kernel, DTYPES[product.weight.dtype])
    for fault in () if sums is None else sorted(sums.faults_on(cpus)):
        if sums is not None and _shows(fault, product, sums, cpus):
            yield fault, sums


def constants(product: Product, sums: Sums) -> list[Operand]:
    """The constants of a product that can rule a fault out. Of a convolution the weight alone: its data is no
    matrix."""
    operands = [product.data, product.weight] if sums.order == "rows" else [product.weight]
    return [one for one in operands if one.codes is not None]


def _shows(fault: str, product: Product, sums: Sums, cpus: Collection[str]) -> bool:
    """Whether some activations can show a fault: unsigned bytes that meet signed ones are added in pairs, and no
    constant rules it out."""
    if fault == PAIRS and product.data.dtype == product.weight.dtype:
        return False
    return not any(_rules_out(fault, one, product, sums, cpus) for one in constants(product, sums))


def _rules_out(fault: str, one: Operand, product: Product, sums: Sums, cpus: Collection[str]) -> bool:
    """Whether the stored integers of one factor keep the sums exact, whatever the other holds."""
    assert one.codes is not None, "a constant"
    if fault == LOWEST:
        return not bool((one.codes == np.iinfo(one.codes.dtype).min).any())
    shape = one.codes.shape
    needed = needed_guard(sums, cpus, shape, groups=product.groups, turned=one.turned, one_zero=one.one_zero)
    if any(not 0 <= axis < len(shape) for axis in needed.pairs):
        return False  # no weight that the kernel would take
    return bool(exact(one.codes, needed).all())


def _added(sums: Sums, rank: int, turned: bool) -> tuple[int, ...]:
    """The axes of the stored weight over which the kernel adds, the slowest first."""
    if sums.order == "rows":
        return (rank - 1,) if turned else (max(rank - 2, 0),)
    kernel = tuple(range(2, rank))
    return (*kernel, 1) if sums.order == "channels_last" else (1, *kernel)


def _depthwise(shape: Sequence[object], groups: object) -> bool:
    """One input and one output channel per group: computed by kernels of their own."""
    return len(shape) > 1 and shape[1] == 1 and groups == shape[0]
