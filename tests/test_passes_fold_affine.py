"""Folding multiplications and additions per channel, on a real model and on what its arithmetic promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse

import qdsl.graph
from qdsl.graph.model import Model
from qdsl.passes.index import make
from qdsl.passes.pipeline import CANONICAL, canonicalise
from qdsl.rewrite import run

MOBILENET = "models/mobilenet_v1_0.25_224_imagenet_float.onnx"
WITHOUT = [name for name in CANONICAL if name != "fold_affine"]


def _ops(model: Model) -> Counter[str]:
    return Counter(node.op for node in model.nodes())


def _outputs(model: Model, x: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(qdsl.graph.to_bytes(model), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: x}))


def test_a_normalization_taken_apart_goes(testdata: Path) -> None:
    model = qdsl.graph.load(testdata / MOBILENET)
    before = model.copy()
    run([make(name) for name in WITHOUT], before)
    assert (_ops(before)["Mul"], _ops(before)["Add"], len(before.nodes())) == (13, 13, 89)
    trace = canonicalise(model)
    assert trace.counts["fold_affine"] == 26
    assert _ops(model) == _ops(before) - Counter(Mul=13, Add=13)
    x = np.random.default_rng(3).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    for was, now in zip(_outputs(before, x), _outputs(model, x), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "file", ["models/yolox_nano.onnx", "models/FastestDet.onnx", "models/mlperf_resnet8_float.onnx"]
)
def test_residual_additions_silus_and_grids_stay(file: str, testdata: Path) -> None:
    model = qdsl.graph.load(testdata / file)
    trace = canonicalise(model)
    assert "fold_affine" not in trace.counts
    assert {step.name: step.outcome.refused for step in trace.steps}["fold_affine"] == ()


def _chain(constants: dict[str, np.ndarray], body: str) -> Model:
    proto = parse(f"g (float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) {{ c = Conv (x, w, b) {body} }}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    return qdsl.graph.from_proto(proto)


def _constants(kind: type[np.floating] = np.float32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "k": (1, 4, 1, 1), "s": (4, 1, 1), "n": (1, 4, 1, 1), "d": ()}
    return {name: random.uniform(0.3, 3, shape).astype(kind) for name, shape in shapes.items()}


def test_a_chain_is_rounded_once() -> None:
    """The weights are the float32 nearest to the exact product of the whole chain, and so is the bias."""
    values = _constants()
    model = _chain(values, "m = Mul (c, k) a = Add (s, m) n2 = Mul (a, n) y = Div (n2, d)")
    assert canonicalise(model).counts == {"fold_affine": 4}
    w, b, k, s, n, d = (values[name].astype(np.float64) for name in "wbksnd")
    scale = k.ravel() * n.ravel() / d
    shift = s.ravel() * n.ravel() / d
    (node,) = model.view().nodes
    weights, bias = (model.values(name) for name in node.inputs[1:3])
    assert weights.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(weights, w * scale[:, None, None, None], rtol=6e-8, atol=0)
    np.testing.assert_allclose(bias, b * scale + shift, rtol=6e-8, atol=0)


def test_the_convolution_keeps_its_name_and_writes_the_last_tensor() -> None:
    model = _chain(_constants(), "m = Mul (c, k) y = Add (m, s)")
    canonicalise(model)
    (node,) = model.view().nodes
    assert (node.name, node.op, node.outputs) == ("c_Conv", "Conv", ("y",))
    assert len(list(model.constants())) == 2


def test_weights_that_others_read_stay_theirs() -> None:
    """Two convolutions share their weights; only one of them is scaled."""
    model = _chain(_constants(), "m = Mul (c, k) o = Conv (x, w, b) y = Add (m, o)")
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    before = _outputs(model, x)
    assert canonicalise(model).counts == {"fold_affine": 1}
    np.testing.assert_allclose(_outputs(model, x)[0], before[0], rtol=1e-5, atol=1e-5)


def test_large_weights_are_computed_when_read() -> None:
    kind = "float[1, 512, 2, 2]"
    proto = parse(f"g ({kind} x) => ({kind} y) {{ c = Conv (x, w) m = Mul (c, k) y = Mul (m, k) }}")
    values = {"w": np.ones((512, 512, 1, 1), np.float32), "k": np.arange(512, dtype=np.float32).reshape(512, 1, 1)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    model = qdsl.graph.from_proto(proto)
    canonicalise(model)
    weights = model.view().nodes[0].inputs[1]
    assert type(model.lazy(weights)).__name__ == "Deferred"
    np.testing.assert_array_equal(model.values(weights)[:, 7, 0, 0], np.arange(512, dtype=np.float32) ** 2)
    again = qdsl.graph.from_proto(qdsl.graph.to_proto(model))
    np.testing.assert_array_equal(again.values(weights), model.values(weights))


def test_a_bias_that_float16_cannot_hold_is_refused() -> None:
    values = _constants(np.float16) | {"k": np.full((1, 4, 1, 1), 60000, np.float16)}
    proto = parse("g (float16[1, 3, 8, 8] x) => (float16[1, 4, 6, 6] y) { c = Conv (x, w, b) y = Mul (c, k) }")
    values["b"] = np.full(4, 10, np.float16)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(values[name], name) for name in "wbk")
    trace = canonicalise(qdsl.graph.from_proto(proto))
    assert trace.counts == {} and "not finite" in trace.refused[0].reason
