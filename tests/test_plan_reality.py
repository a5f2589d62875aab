"""What a plan says is what is written and what ONNX Runtime runs: size and kernels, node for node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from plan_tools import HEAD, decided, planned
from random_graphs import random_model

from qdsl.calibrate import Ranges
from qdsl.diag import QdslError
from qdsl.graph import Model, from_proto, load, to_bytes
from qdsl.graph.view import GraphView
from qdsl.passes.pipeline import canonicalise
from qdsl.spec.plan import Plan
from qdsl.targets.ort import reality
from qdsl.targets.ort.emit import emit

DATA = Path(__file__).resolve().parent / "data"
HEADS = (
    HEAD,
    HEAD.replace("uint8 affine", "int8 affine"),
    HEAD.replace("uint8 affine", "int8 symmetric"),
)
RULES = (
    "",
    "keep last 3 of all in float32\n",
    "place { share scale across inputs of all }\n",
    "keep last 2 of op Conv in float32\n",
)
BELONGS_TO_OTHERS = ("selector-empty", "selector-too-few", "setting-unused", "nothing-to-quantize", "share-mismatch")


def measured(model: Model, plan: Plan, seed: int) -> Ranges:
    """Ranges of the plan's tensors on one random sample."""
    proto = onnx.load_from_string(to_bytes(model))
    known = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    extra = [t.tensor for t in plan.tensors if t.tensor not in known]
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in extra)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feed = {i.name: rng.normal(size=i.shape).astype(np.float32) for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    values = feed | dict(zip(names, session.run(None, feed), strict=True))
    low = {t.tensor: float(values[t.tensor].min()) for t in plan.tensors}
    high = {t.tensor: float(values[t.tensor].max()) for t in plan.tensors}
    return Ranges(low, high, 1, 1)


@pytest.mark.parametrize("seed", range(36))
def test_prediction_is_reality(seed: int, tmp_path: Path) -> None:
    model = from_proto(random_model(seed))
    canonicalise(model)
    view = model.view()
    try:
        plan = planned(view, RULES[seed % len(RULES)], head=HEADS[seed // len(RULES) % len(HEADS)])
    except QdslError as error:
        assert {d.code for d in error.diagnostics} <= set(BELONGS_TO_OTHERS)
        return
    emit(model, plan, measured(model, plan, seed), tmp_path)
    runs = reality.read(tmp_path / "ort" / "model.onnx", counts=False).nodes
    assert {node.node: node.prediction.runs for node in plan.nodes} == {
        node.node: runs[node.node].runs for node in plan.nodes
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8_tiny_torchscript.onnx", "yolov8_tiny_dynamo.onnx"])
def test_the_predicted_size_is_near(name: str, tmp_path: Path) -> None:
    model = load(DATA / name)
    canonicalise(model)
    decisions = decided(model.view(), "keep decode_head in float32\n", float_bytes=(DATA / name).stat().st_size)
    plan = decisions.plan
    ranges = Ranges({t.tensor: -1.0 for t in plan.tensors}, {t.tensor: 1.0 for t in plan.tensors}, 1, 1)
    emit(model, plan, ranges, tmp_path)
    size = (tmp_path / "ort" / "model.onnx").stat().st_size
    assert abs(plan.totals.predicted_bytes / size - 1) < 0.05


def tiny() -> GraphView:
    model = load(DATA / "yolov8_tiny_torchscript.onnx")
    canonicalise(model)
    return model.view()


@pytest.mark.parametrize("word", ["", " storage_only"])
def test_weights_that_are_computed_with_have_an_int32_bias(word: str) -> None:
    """A type with a kernel runs even where the recipe asks only to store it."""
    rules = f"layers op Conv and not decode_head {{ weights int8 symmetric per_channel{word} }}\n"
    assert len(planned(tiny(), rules + "keep decode_head in float32\n").biases) > 20


def test_weights_that_are_only_stored_have_a_float_bias() -> None:
    rules = "layers op Conv and not decode_head { weights int4 symmetric per_channel storage_only }\n"
    assert planned(tiny(), rules + "keep decode_head in float32\n").biases == ()
