"""Average pooling however it is spelled: what is planned runs so in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import project

import qdsl
from qdsl.api import TargetResult

NET = """net (float[1, 3, 8, 8] x) => (float[%s] y) {
  c = Conv <kernel_shape = [1, 1]> (x, w) r = Relu (c)
  %s
}"""
SCALED = (
    "s = Conv <kernel_shape = [1, 1]> (p, v) g = Sigmoid (s) m = Mul (r, g) y = Conv <kernel_shape = [1, 1]> (m, v)"
)
MAP = "1, 4, 8, 8"


def compiled(folder: Path, body: str, shape: str, opset: int) -> TargetResult:
    text = NET % (shape, body)
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    draw = np.random.default_rng(0)
    constants = {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1), "u": (4, 5)}
    values = {name: draw.normal(size=dims).astype(np.float32) for name, dims in constants.items()}
    for name, value in (*values.items(), ("axes", np.array([-1, -2])), ("plane", np.array([2, 3]))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    done = qdsl.compile(project(folder, proto=proto), out=folder / "build", measure=False, lock=False)
    (target,) = done.targets
    return target


@pytest.mark.parametrize(
    ("body", "shape", "opset"),
    [
        (f"[pool] p = ReduceMean <axes = [2, 3]> (r) {SCALED}", MAP, 13),
        (f"[pool] p = ReduceMean <keepdims = 1> (r, axes) {SCALED}", MAP, 18),
        ("[pool] p = ReduceMean <axes = [-2, -1], keepdims = 0> (r) y = MatMul (p, u)", "1, 5", 17),
        ("[pool] q = ReduceMean (r, plane) p = Squeeze (q, plane) y = MatMul (p, u)", "1, 5", 20),
        ("[pool] q = ReduceMean (r, plane) p = Flatten (q) y = MatMul (p, u)", "1, 5", 20),
    ],
)
def test_a_mean_over_the_map_runs_in_integers(tmp_path: Path, body: str, shape: str, opset: int) -> None:
    target = compiled(tmp_path, body, shape, opset)
    (node,) = (node for node in target.plan.nodes if node.node == "pool")
    assert (node.prediction.runs, node.prediction.kernel) == ("integer", "QLinearGlobalAveragePool")
    assert target.verification.as_predicted
    assert not [node.node for node in target.plan.nodes if node.prediction.runs == "float"]


@pytest.mark.parametrize(("dilation", "side", "runs"), [(1, 7, "integer"), (2, 6, "float")])
def test_dilations_of_one_say_nothing(tmp_path: Path, dilation: int, side: int, runs: str) -> None:
    pool = f"[pool] p = AveragePool <kernel_shape = [2, 2], dilations = [{dilation}, {dilation}]> (r)"
    body = f"{pool} y = Conv <kernel_shape = [1, 1]> (p, v)"
    target = compiled(tmp_path, body, f"1, 4, {side}, {side}", 19)
    (node,) = (node for node in target.plan.nodes if node.node == "pool")
    assert node.prediction.runs == runs
    assert target.verification.as_predicted
