"""Which opset a plan cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from qdsl.spec.dtypes import DType
from qdsl.spec.plan import TensorPlan, WeightPlan
from qdsl.spec.scheme import Granularity

# QuantizeLinear, DynamicQuantizeLinear, float16 scales, scales per block
QDQ_OPSET, DYNAMIC_OPSET, FLOAT16_SCALES_OPSET, BLOCKS_OPSET = 10, 11, 19, 21
_NARROW = 4  # types of fewer bits have no form in the runtime's own domain


class PlanLike(Protocol):
    """The part of a plan that says which types and forms it needs."""

    @property
    def mode(self) -> str: ...

    @property
    def tensors(self) -> Sequence[TensorPlan]: ...

    @property
    def weights(self) -> Sequence[WeightPlan]: ...


def least_opset(plan: PlanLike) -> int:
    """The opset that `plan` cannot do without: 25 for 2-bit types, 21 for blocks, 19 for float16 scales, 11 where
    ranges are found at run time. Everything else has a form for older opsets, too."""
    schemes = [*(tensor.scheme for tensor in plan.tensors), *(weight.scheme for weight in plan.weights)]
    return max(
        DYNAMIC_OPSET if plan.mode == "dynamic" else QDQ_OPSET,
        FLOAT16_SCALES_OPSET if any(scheme.float16_scales for scheme in schemes) else QDQ_OPSET,
        opset_of_types(
            (scheme.dtype for scheme in schemes), any(s.granularity is Granularity.PER_BLOCK for s in schemes)
        ),
    )


def opset_of_types(types: Iterable[DType], blocks: bool) -> int:
    """The opset that pairs of these types, and of scales per block, need."""
    narrow = (dtype.qdq_opset or QDQ_OPSET for dtype in types if dtype.bits < _NARROW or not dtype.integer)
    return max(*narrow, BLOCKS_OPSET if blocks else QDQ_OPSET, QDQ_OPSET)
