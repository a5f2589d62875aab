"""What a file says of one Q or DQ, in the predictor's form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdsl.finished.records import Parameters
from qdsl.predict.edges import INT32, Quant
from qdsl.spec import DTYPES, Granularity

# Steps of a bias are those of the products, give or take so much, as a share of these and beyond it.
_SHARE, _STEP = 1e-2, 1e-6
_TYPES = {**DTYPES, INT32.name: INT32}


@dataclass(frozen=True, slots=True)
class Around:
    """What the graph says of a Q or DQ beside its parameters: `constant`, that scale and zero point are constants to
    the runtime; `own`, that nobody else has the scale; `axis`, as the node writes it; `bare`, that more than DQ nodes
    has the integers."""

    constant: bool
    own: bool
    axis: int
    bare: bool


def quant_of(parameters: Parameters, around: Around) -> Quant | None:
    """The Quant of `parameters`, None for a type that no kernel here knows (float8)."""
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
        plain=around.own and (_ranks(parameters) == {0} if per_tensor else around.axis >= 0),
        bare=around.bare,
    )


def _ranks(parameters: Parameters) -> set[int]:
    return {np.ndim(each) for each in (parameters.scale, parameters.zero_point) if each is not None}


def bias_fits(data: Parameters, weight: Parameters, bias: Parameters) -> bool:
    """Whether the steps of a stored bias are those of the products of `data` and `weight`, and its zero point 0; so it
    is where one of them is not known."""
    scales = [None if each.scale is None else np.asarray(each.scale, np.float64) for each in (data, weight, bias)]
    if bias.zero_point is not None and np.any(np.asarray(bias.zero_point)):
        return False
    if scales[0] is None or scales[1] is None or scales[2] is None:
        return True
    first, second, steps = (scale.reshape(-1) for scale in scales if scale is not None)
    if first.size != second.size and 1 not in (first.size, second.size):
        return False
    products = first * second
    if products.size != steps.size and 1 not in (products.size, steps.size):
        return False
    return bool(np.all(np.abs(steps - products) <= _STEP + _SHARE * np.abs(products)))


def _only(values: object) -> float | None:
    """The one number of an array; None where there are several, or none is known."""
    if values is None:
        return None
    array = np.asarray(values)
    return float(array.reshape(-1)[0]) if array.size == 1 else None
