"""NaN and infinity among the weights, found in pieces so that size does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.constants import Array, External, Lazy, lazy_of
from qdsl.graph.dtypes import numpy_type, type_name
from qdsl.graph.model import Model

# What these operators read as weights must be finite. Elsewhere an infinity is meant: attention masks, open Clip
# bounds.
_WEIGHTED = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "LayerNormalization",
        "InstanceNormalization",
        "LSTM",
    }
)


@dataclass(frozen=True, slots=True)
class NonFinite:
    """A constant with values that are not numbers. `index` is the first, in the flattened tensor."""

    name: str
    reader: str
    nans: int
    infinities: int
    index: int


def non_finite_constants(model: Model) -> tuple[NonFinite, ...]:
    """Weights (constants of Conv, Gemm, MatMul and the like) with NaN or infinity, in graph order."""
    found = []
    for constant in model.constants():
        reader = next((node for node in constant.outputs if node.op in _WEIGHTED), None)
        if reader is not None and _is_float(lazy_of(constant)):
            one = _examine(constant, reader)
            found += [] if one is None else [one]
    return tuple(found)


def require_finite(model: Model) -> None:
    """Raises `model-non-finite` for each weight tensor with NaN or infinity."""
    found = [_diagnostic(model, one) for one in non_finite_constants(model)]
    if found:
        raise QdslError(found)


def _diagnostic(model: Model, one: NonFinite) -> Diagnostic:
    counts = [f"{one.nans} NaN"] * bool(one.nans) + [f"{one.infinities} infinite"] * bool(one.infinities)
    held = " and ".join(counts)
    return model.diagnostic(
        "model-non-finite",
        f"weights `{one.name[:80]}` of `{one.reader[:80]}` hold {held} values, the first at index {one.index}",
        help=("export the model again from a checkpoint whose training did not diverge",),
    )


def _is_float(value: Lazy) -> bool:
    return "float" in str(type_name(value.element_type))


def _examine(constant: gs.Constant, reader: gs.Node) -> NonFinite | None:
    nans = infinities = start = 0
    first: int | None = None
    for piece in _pieces(lazy_of(constant)):
        finite = np.isfinite(piece)
        if not finite.all():
            first = start + int(np.argmin(finite)) if first is None else first
            nans += int(np.isnan(piece).sum())
            infinities += int(np.isinf(piece).sum())
        start += piece.size
    return None if first is None else NonFinite(constant.name, reader.name, nans, infinities, first)


def _pieces(value: Lazy) -> Iterator[Array]:
    plain = numpy_type(value.element_type)
    if isinstance(value, External) and plain is not None:
        yield from (np.frombuffer(piece, plain) for piece in value.chunks())
        return
    flat = value.load().reshape(-1)
    for start in range(0, flat.size, 1 << 22):
        piece = flat[start : start + (1 << 22)]
        yield piece if plain is not None else piece.astype(np.float32)
