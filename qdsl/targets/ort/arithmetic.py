"""The artifact as this CPU runs it, beside the arithmetic that its file writes down.

The same file is run twice: with the runtime's own kernels, and with every operator as it is written (no graph
optimization: QuantizeLinear, DequantizeLinear and float operators between them). What the two share is quantization;
where they part, a kernel computes something else. Integer operators that the file itself writes are kernels of the CPU
in either run, so the second has their products as every CPU adds them exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from qdsl.targets.agreement import Agreement
from qdsl.targets.ort.exact_products import exact_products
from qdsl.targets.ort.exposing import FLOAT, QUANTIZED, Arrays, Exposing, Source
from qdsl.targets.ort.layers import Layer
from qdsl.targets.results import Arithmetic, Parting

# Tensors inside the graph that agree this well are the same up to the order in which values are rounded.
_SAME_DB = 43.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """One sample's inputs, and what the float model and the artifact write for it: the tensors asked for, in order."""

    arrays: Arrays
    expected: Sequence[NDArray[Any]]
    ran: Sequence[NDArray[Any]]


def arithmetic(
    reference: Source, quantized: Source, names: Sequence[str], inner: Sequence[str], kept: Sequence[Kept]
) -> tuple[Arithmetic, ...]:
    """How each of the outputs `names`, which `kept` has, and of the tensors `inner` agrees with the float model as
    written and as it runs. Nothing for no samples."""
    everything = [*names, *inner]
    if not kept or not everything:
        return ()
    written = _written(quantized, inner)
    beside = (Exposing(FLOAT, reference, inner), Exposing(QUANTIZED, quantized, inner)) if inner else None
    totals = [(Agreement(), Agreement(), Agreement()) for _ in everything]
    for sample in kept:
        expected, ran = list(sample.expected), list(sample.ran)
        if beside is not None:
            expected += beside[0].run(inner, sample.arrays)
            ran += beside[1].run(inner, sample.arrays)
        meant = written.run(everything, sample.arrays)
        for (planned, here, apart), x, y, z in zip(totals, expected, ran, meant, strict=True):
            planned.add(x, z)
            here.add(x, y)
            apart.add(z, y)
    return tuple(
        Arithmetic(name, planned.sqnr_db, here.sqnr_db, apart.sqnr_db, len(kept))
        for name, (planned, here, apart) in zip(everything, totals, strict=True)
    )


def partings(quantized: Source, inner: Sequence[Layer], kept: Sequence[Arrays]) -> Iterator[Parting]:
    """The first tensors inside the graph in which the two runs part, in graph order; none where it has none inside."""
    if not inner:
        return
    doubles = [layer.exposed for layer in inner]
    running, written = Exposing(QUANTIZED, quantized, doubles), _written(quantized, doubles)
    totals = [Agreement() for _ in inner]
    for arrays in kept:
        for total, layer, meant, ran in zip(
            totals, inner, written.run(doubles, arrays), running.run(doubles, arrays), strict=True
        ):
            total.add(layer.values(meant), layer.values(ran))
    parted = [
        Parting(layer.tensor, total.sqnr_db)
        for layer, total in zip(inner, totals, strict=True)
        if total.sqnr_db is not None and total.sqnr_db < _SAME_DB and total.sqnr_db != math.inf
    ]
    yield from parted[:_SHOWN]


def _written(source: Source, expose: Sequence[str]) -> Exposing:
    return Exposing(QUANTIZED, replace(source, proto=exact_products(source.proto)), expose, as_written=True)
