"""Biases as int32 at the scale of the accumulator they are added to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.quant.linear import FloatArray

# Half of int32: the other half is left to the sum of products that the bias starts (33,000 products of 255 x 127).
BIAS_LIMIT = 1 << 30


def raise_scale_for_bias(weight_scale: FloatArray, input_scale: np.float32, bias: NDArray[Any]) -> FloatArray:
    """Weight scales, each raised as far as its bias needs to fit `BIAS_LIMIT`.

    A bias is stored as round(bias / (input_scale * weight_scale)). Where weights are tiny beside their bias (a channel
    that batch normalization has all but switched off) this overflows int32; a coarser weight scale costs nothing
    there. A per-tensor scale is raised for the largest bias. Shapes: weight_scale () or (channels,), bias (channels,).
    """
    needed = np.abs(bias.astype(np.float64)) / (float(input_scale) * BIAS_LIMIT)
    if weight_scale.ndim == 0:
        needed = needed.max(initial=0.0)
    raised = np.asarray(np.maximum(weight_scale, needed), np.float32)
    # The cast may have rounded down, by one part in 2^24.
    return np.where(raised > weight_scale, np.nextafter(raised, np.float32(np.inf)), weight_scale)


def quantize_bias(
    bias: NDArray[Any], input_scale: np.float32, weight_scale: FloatArray, name: str = "", span: Span | None = None
) -> tuple[NDArray[np.int32], FloatArray]:
    """The bias as int32 with its scale: the float32 product input_scale * weight_scale, zero point 0.

    `weight_scale` comes from `raise_scale_for_bias`, so nothing saturates. Raises QdslError, about `name` and at
    `span`: weight-not-finite, bias-scale-overflow when the product is past float32.
    """
    if not np.isfinite(bias).all():
        raise QdslError([Diagnostic("weight-not-finite", f"bias `{name}` holds values that are not finite", span)])
    with np.errstate(over="ignore"):
        scale = np.asarray(np.float32(input_scale) * weight_scale.astype(np.float32), np.float32)
    if not np.isfinite(scale).all():
        raise QdslError([_overflow(name, span)])
    steps = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    return np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32), scale


def _overflow(name: str, span: Span | None) -> Diagnostic:
    return Diagnostic(
        "bias-scale-overflow",
        f"bias `{name}` has no scale: the product of input scale and weight scale is past float32",
        span,
        help=("keep this node in float32: its inputs or weights are far too large to quantize",),
    )
