"""What is written for TensorRT computes, in ONNX Runtime and node by node, exactly what its plan says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from plan_numerics import Interpreter, unfused
from quantized import Measured
from seeds import few_of
from tensorrt_plans import TARGET, drawn, random_recipe

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostics
from qdsl.graph import to_proto
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.targets.tensorrt.emit import emit
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

Array = np.ndarray[Any, Any]
Ends = dict[str, tuple[float, float]]


def pictures(model: ModelProto, seed: int) -> list[Array]:
    """One to measure ranges on, and a louder one, which saturates some of them."""
    shape = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    draw = np.random.default_rng(seed)
    return [draw.standard_normal(shape).astype(np.float32) * np.float32(loud) for loud in (1.0, 1.6)]


def measured(floats: Mapping[str, Array], names: list[str]) -> Ends:
    return {name: (float(floats[name].min()), float(floats[name].max())) for name in names}


def same(found: list[Any], wanted: Mapping[str, Array], seed: int) -> None:
    for (name, value), other in zip(wanted.items(), found, strict=True):
        np.testing.assert_array_equal(other, value, err_msg=f"seed {seed}: {name}")


@pytest.mark.parametrize("seed", few_of(range(60), 4))
def test_random_plans_compute_what_they_say(seed: int) -> None:
    each = drawn(seed)
    model = to_proto(each.model)
    quiet, loud = pictures(model, seed)
    reference = Interpreter(model)
    tensors, weights = each.plan.tensors, each.plan.weights
    ends = measured(reference.floats(image=quiet), [one.tensor for one in tensors])
    copy = each.model.copy()
    low, high = ({name: pair[side] for name, pair in ends.items()} for side in (0, 1))
    InsertQDQ(each.plan, Measured(low, high)).apply(copy)
    session = unfused(to_proto(copy))
    for picture in (quiet, loud):
        wanted = reference.planned(tensors, weights, ends, image=picture)
        same(session.run(None, {"image": picture}), wanted, seed)


@pytest.mark.parametrize("seed", few_of(range(100, 130), 2))
def test_artifacts_compute_what_their_plan_says(seed: int, tmp_path: Path) -> None:
    """As planned from a recipe, and as emitted: with its lowerings, and the pairs of the table's own placement."""
    prepared = prepare(read(random_recipe(seed, tmp_path), {}))
    (decided,) = decide_all(prepared, TARGET, Diagnostics())
    plan, model = decided.plan, to_proto(prepared.model)
    quiet, loud = pictures(model, seed)
    reference = Interpreter(model)
    ends = measured(reference.floats(image=quiet), [one.tensor for one in plan.tensors])
    low, high = ({name: pair[side] for name, pair in ends.items()} for side in (0, 1))
    emitted = emit(prepared.model, plan, Ranges(low, high, 1, 1), tmp_path / "build")
    session = unfused(emitted.model.read_bytes())
    assert plan.tensors and plan.weights
    for picture in (quiet, loud):
        same(
            session.run(None, {"image": picture}),
            reference.planned(plan.tensors, plan.weights, ends, image=picture),
            seed,
        )
