"""SiLU in float between integer convolutions: one kernel behind one DequantizeLinear, as the recipe asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from test_cuts import compiled, node, write

from qdsl.api.compiling import CompileResult
from qdsl.targets.ort.reality import read

DRAW = np.random.default_rng(3)
CONSTANTS = {f"w{at}": DRAW.standard_normal((8, 8, 3, 3)).astype(np.float32) / 8 for at in range(3)}
PADDED = {"pads": [1, 1, 1, 1]}
NODES = [
    node("Conv", ["x", "w0"], ["a"], "first", **PADDED),
    node("Sigmoid", ["a"], ["b"], "first_sigmoid"),
    node("Mul", ["a", "b"], ["c"], "first_mul"),
    node("Conv", ["c", "w1"], ["d"], "second", **PADDED),
    node("Sigmoid", ["d"], ["e"], "second_sigmoid"),
    node("Mul", ["e", "d"], ["f"], "second_mul"),
    node("Conv", ["f", "w2"], ["y"], "third", **PADDED),
]


def build(folder: Path, rest: str, opset: int = 17) -> CompileResult:
    data = {"x": DRAW.uniform(-2, 2, (4, 1, 8, 9, 9)).astype(np.float32)}
    return compiled(write(folder, NODES, CONSTANTS, data, rest=rest, opset=opset))


@pytest.mark.parametrize("opset", [11, 17, 24])
def test_it_runs_as_one_kernel(tmp_path: Path, opset: int) -> None:
    (built,) = build(tmp_path, "keep op Sigmoid in float32\nkeep op Mul in float32", opset).targets
    ran = read(built.emitted.model)
    assert ran.op_counts["QuickGelu"] == 2 and ran.op_counts["QLinearConv"] == 3
    assert ran.op_counts["DequantizeLinear"] == 3  # one before each, and the output's
    assert not {"Sigmoid", "Mul"} & ran.op_counts.keys()
    assert not built.verification.mismatches
    assert abs(built.plan.totals.predicted_bytes - built.emitted.size) < 300


def test_it_is_the_same_function(tmp_path: Path) -> None:
    (built,) = build(tmp_path, "keep op Sigmoid in float32\nkeep op Mul in float32").targets
    model = onnx.load(built.emitted.model)
    for each in [each for each in model.graph.node if each.op_type == "QuickGelu"]:
        at = list(model.graph.node).index(each)
        spelled = node("Sigmoid", [each.input[0]], [f"{each.name}_s"])
        product = node("Mul", [each.input[0], f"{each.name}_s"], [each.output[0]])
        model.graph.node.remove(each)
        model.graph.node.insert(at, product)
        model.graph.node.insert(at, spelled)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = DRAW.uniform(-2, 2, (1, 8, 9, 9)).astype(np.float32)
    one, other = (
        ort.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})[0]
        for proto in (onnx.load(built.emitted.model), model)
    )
    step = float(np.abs(other).max()) / 100
    assert np.abs(one - other).max() <= step  # a value on the edge of two steps may round to the other


@pytest.mark.parametrize("rest", ["", "keep op Sigmoid in float32", "keep op Mul in float32"])
def test_with_integers_in_it_all_stays(tmp_path: Path, rest: str) -> None:
    (built,) = build(tmp_path, rest).targets
    assert "QuickGelu" not in read(built.emitted.model).op_counts
    assert not built.verification.mismatches
