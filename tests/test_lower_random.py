"""Random graphs as integer graphs: what the interpreter makes of them is what ONNX Runtime answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from integer_models import fused, interpreted
from integer_random import planned, randomly_placed, some_feeds, unfused
from numpy.typing import NDArray
from random_graphs import random_model
from seeds import few_of

from qdsl.integer.lower import lower
from qdsl.integer.lower_errors import LoweringError

Array = NDArray[Any]
FLOATS = 1e-5  # of the largest value: float32 added in another order
# Operators of random graphs that have no kernel on a microcontroller; MatMul of two computed matrices is another.
WITHOUT = {"ConvTranspose", "Greater", "MatMul", "Max", "QuickGelu", "Resize", "Where"}


def differences(proto: onnx.ModelProto, want: dict[str, Array]) -> Array:
    """How far each output value of the interpreter is from `want`, as a share of the largest of its tensor."""
    got = interpreted(lower(proto, "random"), some_feeds(proto, 0))
    return np.concatenate([_apart(got[key], want[key]).reshape(-1) for key in want])


def _apart(one: Array, other: Array) -> Array:
    difference: Array = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return difference / max(np.abs(other.astype(np.float64)).max(), 1e-9)


def supported(proto: onnx.ModelProto) -> bool:
    """Whether `proto` lowers; where it does not, the reason is one of the operators without a kernel."""
    try:
        lower(proto, "random")
    except LoweringError as error:
        assert error.operator in WITHOUT, error
        assert error.node in {node.name for node in proto.graph.node}
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, 600, 12), 1))
def test_planned_graphs_answer_what_fused_kernels_answer(first: int) -> None:
    tried = 0
    for seed in range(first, first + 12):
        model = random_model(seed)
        proto = planned(model, some_feeds(model, 0))
        if supported(proto):
            tried += 1
            assert differences(proto, fused(proto, some_feeds(proto, 0))).max() <= FLOATS, seed
    assert tried > 1


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, 600, 25), 1))
def test_pairs_wherever_they_stand_mean_what_the_file_says(first: int) -> None:
    """Kernels that ONNX Runtime fuses answer so, or, where it makes integers of float weights itself, its nodes do. A
    float that lies between two integers is rounded to either, so that one value in a hundred may be a step away."""
    tried = 0
    for seed in range(first, first + 25):
        proto = randomly_placed(seed)
        if proto is None or not any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
            continue
        try:
            lower(proto, "random")
        except LoweringError:
            continue
        tried += 1
        answers = [each(proto, some_feeds(proto, 0)) for each in (fused, unfused)]
        assert min(np.mean(differences(proto, want) > 10 * FLOATS) for want in answers) <= 0.01, seed
    assert tried > 1
