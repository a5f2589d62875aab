"""What a file says of one Q or DQ, in the predictor's form."""

from __future__ import annotations

import numpy as np

from qdsl.finished.records import Parameters
from qdsl.predict.edges import INT32, Quant
from qdsl.spec import DTYPES, Granularity

_TYPES = {**DTYPES, INT32.name: INT32}


def quant_of(parameters: Parameters, *, kept: bool) -> Quant | None:
    """The Quant of `parameters`, None for a type that no kernel here knows (float8). `kept`: something other than a Q
    and its DQs has the integers, so that their type stays as it is."""
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
        kept=kept or not parameters.zero_written or zero is None,
    )


def _only(values: object) -> float | None:
    """The one number of an array; None where there are several, or none is known."""
    if values is None:
        return None
    array = np.asarray(values)
    return float(array.reshape(-1)[0]) if array.size == 1 else None
