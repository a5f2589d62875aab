"""Float weights between Q/DQ pairs stay float in ONNX Runtime: small graphs, random ones, and a real model."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from pass_cases import Case
from plan_tools import HEAD, planned
from quantized import SmallPlan
from random_graphs import random_decisions, random_model
from seeds import few_of
from test_plan_reality import measured
from test_predict_random import difference, wide_ranges, written

import qdsl
import qdsl.graph
from qdsl.capability import load
from qdsl.diag import QdslError
from qdsl.graph.model import Model
from qdsl.passes.index import make
from qdsl.passes.pipeline import canonicalise
from qdsl.predict.edges import edges_of_plan
from qdsl.rewrite import run
from qdsl.targets import lowerings
from qdsl.targets.ort import emit
from qdsl.targets.ort.predict import predict, refused_tensors
from qdsl.targets.ort.reality import read
from qdsl.targets.ort.verify import mismatches

TABLE = load("ort_cpu")
_CONSTANTS = (
    "float s = {0.05}, uint8 z = {0}, int8 n = {-128}, float low = {0}, float high = {3.5}, "
    "float[3, 4, 1, 1] w = {0.03, 1, -0.5, 0.002, 0.7, -0.011, 0.3, 0.2, 0.004, -0.9, 0.01, 0.6}, "
    "float[4, 1, 1, 1] dw = {4, 0.03, -0.02, 0.004}, float[2, 1, 1, 1] one = {1, 0.003}, "
    "float[3] b = {0.5, -0.1, 0.01}, "
    "float[4, 3] m = {0.03, 1, -0.5, 0.002, 0.7, -0.011, 0.3, 0.2, 0.004, -0.9, 0.01, 0.6}, "
    "int64[2] flat = {1, 4}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}"
)
_IMAGE = "float[1, 4, 5, 5] x"
_IN = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) "
_OUT = "e = QuantizeLinear (r, s, z) y = DequantizeLinear (e, s, z)"
_VECTOR = "float[1, 4] x"
_SIGNED_IN = "q = QuantizeLinear (x, s, n) d = DequantizeLinear (q, s, n) "


def _graph(body: str, y: str = "float[1, 3, 5, 5] y", x: str = _IMAGE) -> str:
    return f"g ({x}) => ({y}) <{_CONSTANTS}> {{ {body} }}"


_SINGLE = "float[1, 1, 5, 5] x"
CASES = (
    Case("Conv, Relu", _graph(_IN + "c = Conv (d, w, b) r = Relu (c) " + _OUT), 1),
    Case("Conv, Clip that stays", _graph(_IN + "c = Conv (d, w) r = Clip (c, low, high) " + _OUT), 1),
    Case("Conv alone", _graph(_IN + "r = Conv (d, w) " + _OUT), 1),
    Case("depthwise", _graph(_IN + "r = Conv <group = 4> (d, dw) " + _OUT, "float[1, 4, 5, 5] y"), 1),
    Case("ConvTranspose", _graph(_IN + "r = ConvTranspose <group = 4> (d, dw) " + _OUT, "float[1, 4, 5, 5] y"), 1),
    Case("one channel", _graph(_IN + "r = Conv (d, one) " + _OUT, "float[1, 2, 5, 5] y", _SINGLE), 1),
    Case("int8 activations", _graph(_SIGNED_IN + "r = Conv (d, w) " + _OUT), 1),
    Case("Gemm", _graph(_IN + "r = Gemm (d, m, b) " + _OUT, "float[1, 3] y", _VECTOR), 1),
    Case("MatMul and Add", _graph(_IN + "c = MatMul (d, m) r = Add (c, b) " + _OUT, "float[1, 3] y", _VECTOR), 1),
    Case("zero padding before", _graph(_IN + "p = Pad (d, pads) r = Conv (p, w) " + _OUT, "float[1, 3, 7, 7] y"), 1),
    Case(
        "a pair that moves down", _graph(_IN + "t = Transpose (d) r = Conv (t, w) " + _OUT, x="float[5, 5, 4, 1] x"), 1
    ),
    Case("a pair that moves up", _graph(_IN + "c = Conv (d, w) r = Transpose (c) " + _OUT, "float[5, 5, 3, 1] y"), 1),
    Case(
        "two that read the same integers",
        _graph(
            _IN + "r = Conv (d, w) " + _OUT + " t = Conv (d, w, b) u = QuantizeLinear (t, s, z) "
            "v = DequantizeLinear (u, s, z)",
            "float[1, 3, 5, 5] y, float[1, 3, 5, 5] v",
        ),
        2,
    ),
    Case(
        "a second reader of the pair",
        _graph(_IN + "r = Conv (d, w) " + _OUT + " i = Neg (d)", "float[1, 3, 5, 5] y, float[1, 4, 5, 5] i"),
        1,
    ),
    Case("a float result", _graph(_IN + "y = Conv (d, w)"), 0),
    Case("a float input", _graph("r = Conv (x, w) " + _OUT), 0),
    Case("MatMul alone", _graph(_IN + "r = MatMul (d, m) " + _OUT, "float[1, 3] y", _VECTOR), 0),
    Case("a float operator between", _graph(_IN + "t = Tanh (d) r = Conv (t, w) " + _OUT), 0),
)
IDS = [case.title for case in CASES]


def _runs(case: Case) -> tuple[Model, Model, int]:
    before = qdsl.graph.from_proto(parse(case.text, case.opset))
    after = before.copy()
    return before, after, run([make("keep_weights")], after).edits


def _session(data: bytes, level: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _outputs(data: bytes, level: str = "ORT_ENABLE_ALL") -> list[np.ndarray]:
    session = _session(data, level)
    info = session.get_inputs()[0]
    drawn = np.random.default_rng(2).uniform(-1, 3, info.shape).astype(np.float32)
    return list(session.run(None, {info.name: drawn}))


def _text(model: Model) -> str:
    return onnx.printer.to_text(qdsl.graph.to_proto(model).graph)


def test_goldens(golden: Callable[[str, str], None]) -> None:
    shown = [
        case
        for case in CASES
        if case.title in ("Conv, Relu", "int8 activations", "zero padding before", "a float result")
    ]
    parts = []
    for case in shown:
        before, after, edits = _runs(case)
        parts += [f"== {case.title}", _text(before), f"-> {_text(after)}" if edits else "-> unchanged", ""]
    golden("passes/keep_weights.txt", "\n".join(parts))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_nothing_is_rounded_and_nothing_changes(case: Case) -> None:
    before, after, edits = _runs(case)
    assert edits == case.fires
    was, now = qdsl.graph.to_bytes(before), qdsl.graph.to_bytes(after)
    onnx.checker.check_model(qdsl.graph.to_proto(after), full_check=True)
    for a, b in zip(_outputs(was, "ORT_DISABLE_ALL"), _outputs(now, "ORT_DISABLE_ALL"), strict=True):
        np.testing.assert_array_equal(a, b)
    products = {n.name for n in before.nodes() if n.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")}
    ran = read(now, counts=False).nodes
    assert {(ran[name].runs, ran[name].rounded) for name in products} == {("float", False)}
    changed = read(was, counts=False).nodes
    assert any(changed[name].rounded or changed[name].runs == "integer" for name in products) == (case.fires > 0)
    for level in ("ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        for a, b in zip(_outputs(was, "ORT_DISABLE_ALL"), _outputs(now, level), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_bias_beside_16_bits_does_not_overflow() -> None:
    """Steps of 1e-5 and 3e-5: in their product 0.9 is more than int32 holds."""
    text = """g (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] y)
      <float s = {0.00001}, uint16 z = {0}, float t = {0.00003}, int16 n = {0},
       int16[2, 2, 1, 1] w = {3000, 1, 2, 3000}, float[2] b = {0.9, -0.9}, float o = {0.0001}, uint16 m = {30000}> {
      q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) v = DequantizeLinear (w, t, n) c = Conv (d, v, b)
      e = QuantizeLinear (c, o, m) y = DequantizeLinear (e, o, m) }"""
    before = qdsl.graph.from_proto(parse(text, 21))
    after = before.copy()
    assert run([make("keep_weights")], after).counts == {"kept": 1}
    expected = _outputs(qdsl.graph.to_bytes(before), "ORT_DISABLE_ALL")[0]
    np.testing.assert_allclose(_outputs(qdsl.graph.to_bytes(after))[0], expected, atol=1.01e-4)
    assert np.abs(_outputs(qdsl.graph.to_bytes(before))[0] - expected).max() > 0.5


def _float_weights(seed: int) -> tuple[Model, SmallPlan]:
    """A random graph whose activations are quantized at random, as are some of the weights."""
    model = qdsl.graph.from_proto(random_model(seed))
    decided = random_decisions(model.view(), TABLE, seed)
    rng = random.Random(seed)
    share = rng.choice([0.0, 0.0, 0.5])
    stored = tuple(weight for weight in decided.weights if rng.random() < share)
    nodes = {weight.node for weight in stored}
    biases = tuple(bias for bias in decided.biases if bias.node in nodes)
    return model, SmallPlan(decided.tensors, stored, biases)


def _lowered(model: Model, plan: SmallPlan, seed: int) -> tuple[bytes, bytes]:
    """The emitted file without and with what the emitter does to suit the runtime."""
    data = written(model, plan, wide_ranges(model.view(), seed))
    made = qdsl.graph.from_proto(onnx.load_from_string(data))
    run([make(name) for name in lowerings.of_graphs("ort")], made)
    return data, qdsl.graph.to_bytes(made)


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(5000, 5160, 20), 3))
def test_float_weights_run_in_float_as_predicted(first: int) -> None:
    kept = fired = 0
    for seed in range(first, first + 20):
        model, plan = _float_weights(seed)
        view = model.view()
        tensors = {tensor.tensor: tensor for tensor in plan.tensors}
        if refused_tensors(view, edges_of_plan(view, tensors, plan.weights, plan.biases), TABLE):
            continue
        plain, data = _lowered(model, plan, seed)
        ran = read(data, counts=False).nodes
        assert not [name for name, found in ran.items() if found.rounded], f"seed {seed}"
        predicted = predict(view, tensors, plan.weights, plan.biases, TABLE, lowered=True)
        real = {name: replace(found, rounded=False) for name, found in ran.items()}
        found = difference(view, predicted, real)
        assert not found, f"seed {seed}:\n" + "\n".join(found)
        floats = [n for n in view.nodes if n.op in _PRODUCTS and n.name not in {w.node for w in plan.weights}]
        assert {real[node.name].runs for node in floats if real[node.name].kernel} <= {"float"}, f"seed {seed}"
        kept += len(floats)
        fired += plain != data
    assert kept > 40 and fired > 5


_PRODUCTS = ("Conv", "ConvTranspose", "Gemm")


def _distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """The largest relative RMS difference of outputs."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(one, other, strict=True)]
    return max(float(np.sqrt(((a - b) ** 2).mean()) / (np.sqrt((a**2).mean()) + 1e-6)) for a, b in pairs)


@pytest.mark.slow
def test_outputs_are_those_of_the_graph_as_it_is_written() -> None:
    """All optimizations or none: the same but for the last bits, and values that lie between two steps."""
    changed = 0
    for seed in range(7000, 7050):
        model, plan = _float_weights(seed)
        view = model.view()
        if any(node.op == "Softmax" for node in view.nodes):
            continue  # the integer kernel answers 0 along an axis of one element
        edges = edges_of_plan(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases)
        if plan.weights or refused_tensors(view, edges, TABLE):
            continue
        plain, data = _lowered(model, plan, seed)
        expected = _outputs(plain, "ORT_DISABLE_ALL")
        assert _distance(expected, _outputs(data)) < 0.01, f"seed {seed}"
        changed += _distance(expected, _outputs(plain)) > 0.01
    assert changed > 10


RECIPE = """recipe kept
model onnx "{model}"
input {{
  resize 224 crop; mean [127.5]; std [127.5]
}}
data calib from images "{images}/*.jpg" {{ take 12 }}
quantize static {{
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}}
keep op Softmax{more} in float32
target ort
"""


@pytest.mark.slow
def test_depthwise_layers_in_float_bring_a_mobilenet_closer(testdata: Path, tmp_path: Path) -> None:
    model = testdata / "models" / "mobilenet_v1_0.25_224_imagenet_float.onnx"
    levels = {}
    for more in ("", ", depthwise"):
        recipe = tmp_path / "kept.q"
        text = RECIPE.format(model=model, images=testdata / "images" / "coco_ccby", more=more)
        recipe.write_text(text, encoding="utf-8")
        (made,) = qdsl.compile(recipe, out=tmp_path / "build", lock=False, workers=1).targets
        found = made.verification
        assert found is not None and found.mismatches == ()
        levels[more] = found.outputs[0].sqnr_db
        convs = {kernel.kernel: kernel.real for kernel in found.kernels}["Conv"]
        assert (convs < 20) == bool(more)
    assert levels[", depthwise"] > levels[""] + 1, levels


_INT8 = HEAD.replace("uint8 affine", "int8 affine")
_PLACED = "keep {names} in float32\nplace {{ quantize inputs of {names}; quantize outputs of {names} }}\n"
_RULES = {
    "keep": (HEAD, "keep {names} in float32\n"),
    "weights": (HEAD, "layers {names} {{ weights float32 }}\n"),
    "place": (HEAD, _PLACED),
    "int8": (_INT8, _PLACED),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", _RULES)
def test_recipes_that_leave_products_in_float(words: str) -> None:
    """Every other Conv, ConvTranspose and Gemm in float: it runs so, and on its own weights."""
    head, rule = _RULES[words]
    fired = 0
    for seed in range(6000, 6016):
        model = qdsl.graph.from_proto(random_model(seed))
        canonicalise(model)
        names = [node.name for node in model.nodes() if node.op in _PRODUCTS][::2]
        rules = rule.format(names=", ".join(f'"{name}"' for name in names))
        try:
            plan = planned(model.view(), rules, head=head)
        except QdslError as error:
            assert error.diagnostics[0].code in ("nothing-to-quantize", "setting-unused")
            continue
        quantized, _ = emit.quantize(model, plan, measured(model, plan, seed))
        ran = read(qdsl.graph.to_bytes(quantized), counts=False)
        # With int8 the ranges measured here make integers of a Reshape that the plan, without them, leaves in float.
        wrong = [miss for miss in mismatches(plan, ran) if words != "int8" or miss.node in names]
        assert not wrong, f"seed {seed}"
        assert {(ran.nodes[name].runs, ran.nodes[name].rounded) for name in names} == {("float", False)}, f"seed {seed}"
        fired += any(node.name.endswith("_kept") for node in quantized.nodes())
    assert fired > 2
