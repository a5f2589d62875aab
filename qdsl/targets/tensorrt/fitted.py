"""TensorRT's table as it holds for the version and the device that a recipe names: types that do not run there say why.

Which types a version knows: the types and flags of NVIDIA's own Python modules (`versions.py`). What a compute
capability needs: NVIDIA's support matrix, and TensorRT-RTX 1.7.1, which refuses int4 for 7.5 and fp8 below 8.9.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

from qdsl.capability import Capability, Row, TypeRow
from qdsl.diag import Severity
from qdsl.lang.recipe import Target
from qdsl.spec import Granularity
from qdsl.targets.tensorrt.asked import Asked, asked, problems_of
from qdsl.targets.tensorrt.devices import NARROW, Narrow
from qdsl.targets.tensorrt.versions import Release

# The first version whose parser takes a DequantizeLinear without a QuantizeLinear before it, on stored integers.
_STORED_INTEGERS = Release(10, 0)
# The first with a scale per channel for products of float8 (release notes of 10.6).
_FLOAT8, _FLOAT8_CHANNELS = "float8", Release(10, 6)
# What every device of recent years has: Ampere.
_COMMON = (8, 0)


def fitted(table: Capability, block: Target) -> Capability:
    """`table` for what `block` names; `table` itself where that is wrong, which is told elsewhere."""
    if any(found.severity is Severity.ERROR for found in problems_of(block)):
        return table
    wanted = asked(block)
    lacking = {narrow.dtype: why for narrow in NARROW if (why := _lacks(narrow, wanted))}
    types = {name: _without(row, lacking[name]) if name in lacking else row for name, row in table.types.items()}
    if wanted.release < _FLOAT8_CHANNELS:
        types[_FLOAT8] = _of_one_scale(types[_FLOAT8])
    types |= {one.dtype: replace(types[one.dtype], caution=_caution(one)) for one in _not_everywhere(wanted, types)}
    rows = tuple(_row(row, frozenset(lacking)) for row in table.rows)
    paired, half = wanted.release < _STORED_INTEGERS, table.half_scales and wanted.release.strong
    newest = min(table.max_opset, wanted.release.opset)
    return replace(table, types=types, rows=rows, paired_weights=paired, half_scales=half, max_opset=newest)


def _lacks(narrow: Narrow, wanted: Asked) -> str:
    """Why a type does not run there; "" where it does. Without a device, only the version counts."""
    if wanted.release < narrow.since:
        return f"TensorRT {wanted.release} has no {narrow.dtype}: {narrow.since} was the first"
    device = wanted.device
    if device is not None and device.capability < narrow.least:
        has, needs = (".".join(map(str, pair)) for pair in (device.capability, narrow.least))
        return f"{device.title} has no {narrow.dtype}: its compute capability is {has}, and {needs} was the first"
    return ""


def _of_one_scale(row: TypeRow) -> TypeRow:
    """`row` with one scale for a weight, and no more."""
    return replace(row, weight=replace(row.weight, granularities=(Granularity.PER_TENSOR,)))


def _not_everywhere(wanted: Asked, known: Container[str]) -> Iterator[Narrow]:
    """The types that many of the devices lack which get the version, where none is named."""
    for narrow in NARROW if wanted.device is None else ():
        if narrow.dtype in known and narrow.least > _COMMON and not _lacks(narrow, wanted):
            yield narrow


def _caution(narrow: Narrow) -> str:
    least = ".".join(map(str, narrow.least))
    return f"{narrow.dtype} runs on devices of compute capability {least} or more: others refuse to build the engine"


def _without(row: TypeRow, because: str) -> TypeRow:
    activation, weight = replace(row.activation, runs="no"), replace(row.weight, runs="no")
    return replace(row, activation=activation, weight=weight, because=because)


def _row(row: Row, lacking: frozenset[str]) -> Row:
    """`row` without the kernel that reads narrow weights, where none of its types runs."""
    only = row.weight_only
    if only is None or not any(dtype.name in lacking for dtype in only.types):
        return row
    left = tuple(dtype for dtype in only.types if dtype.name not in lacking)
    return replace(row, weight_only=replace(only, types=left) if left else None)
