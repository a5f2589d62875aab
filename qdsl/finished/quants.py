"""What a file says of one Q or DQ, in the predictor's form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.finished.records import Parameters
from qdsl.predict.bounds import ANYTHING, Interval
from qdsl.predict.edges import INT32, Quant
from qdsl.spec import Granularity
from qdsl.spec.dtypes import BY_ELEMENT

# Steps of a bias are those of the products, give or take so much, as a share of these and beyond it.
_SHARE, _STEP = 1e-2, 1e-6
_NONE: Interval = (math.inf, -math.inf)
_TYPES = {**BY_ELEMENT, INT32.name: INT32}


@dataclass(frozen=True, slots=True)
class Around:
    """What the graph says of a Q or DQ beside its parameters: `constant`, that scale and zero point are constants to
    the runtime; `own`, that nobody else has the scale; `axis`, as the node writes it; `bare`, that more than DQ nodes
    has the integers; `site` as for Quant."""

    constant: bool
    own: bool
    axis: int
    bare: bool
    site: str


def quant_of(parameters: Parameters, around: Around) -> Quant | None:
    """The Quant of `parameters`, None for a type that no kernel here knows (another float8)."""
    dtype = _TYPES.get(parameters.element)
    if dtype is None:
        return None
    zero = 0 if not parameters.zero_written else _only(parameters.zero_point)
    step = _only(parameters.scale)
    per_tensor = parameters.granularity is Granularity.PER_TENSOR
    reach = None
    if per_tensor and step is not None and zero is not None and dtype.qmin is not None and dtype.qmax is not None:
        reach = (dtype.qmin - zero) * step, (dtype.qmax - zero) * step
    return Quant(
        dtype,
        parameters.key,
        parameters.granularity,
        parameters.block,
        parameters.axis,
        lowest_zero=per_tensor and zero is not None and zero == dtype.qmin,
        reach=reach,
        step=step or 0.0,
        zero=parameters.zero_written,
        constant=around.constant,
        even=parameters.zero_point is None or not _any(parameters.zero_point),
        scalar=_ranks(parameters) <= {0},
        plain=around.own and (per_tensor or around.axis >= 0),
        bare=around.bare,
        site=around.site,
    )


def _ranks(parameters: Parameters) -> set[int]:
    return {np.ndim(each) for each in (parameters.scale, parameters.zero_point) if each is not None}


def _any(values: NDArray[Any]) -> bool:
    """Whether one of them is not 0; any float may stand there, one that signals, too."""
    with np.errstate(invalid="ignore"):
        return bool(np.any(values))


def bias_fits(weight: Parameters, bias: Parameters) -> Interval:
    """The steps of the data for which those of a stored bias are those of the products; none where it has a zero point,
    any where scales are not known."""
    if bias.zero_point is not None and _any(bias.zero_point):
        return _NONE
    if weight.scale is None or bias.scale is None:
        return ANYTHING
    factors, steps = (np.asarray(each.scale, np.float64).reshape(-1) for each in (weight, bias))
    if (factors.size != steps.size and 1 not in (factors.size, steps.size)) or np.any(factors <= 0):
        return _NONE
    low, high = (steps - _STEP) / (1 + _SHARE) / factors, (steps + _STEP) / (1 - _SHARE) / factors
    return float(np.max(low)), float(np.min(high))


def _only(values: object) -> float | None:
    """The one number of an array; None where there are several, or none is known."""
    if values is None:
        return None
    array = np.asarray(values)
    return float(array.reshape(-1)[0]) if array.size == 1 else None
