"""The artifact for ONNX Runtime: its files, manifest, size and bytes, and the comparison with the float model."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ValueInfoProto
from quantized import model_of, origins, runs_as, scheme, session, weight
from seeds import few_of

import qdsl.graph.saving
import qdsl.targets.ort.verify as verifying
from qdsl.calibrate import Ranges
from qdsl.data import Sample
from qdsl.diag import Diagnostics, QdslError
from qdsl.diag.codes.target import CODES
from qdsl.graph import Model, load, to_bytes, to_proto
from qdsl.lang import loads
from qdsl.lang.recipe import Recipe
from qdsl.passes.pipeline import canonicalise
from qdsl.plan import decide
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets import target_of
from qdsl.targets.agreement import Agreement
from qdsl.targets.ort.emit import emit
from qdsl.targets.ort.layers import Layer, chunks, layers
from qdsl.targets.ort.reality import Reality
from qdsl.targets.ort.verify import mismatches, verify
from qdsl.targets.results import Emitted, Ran, Verification

RECIPE = """recipe example
model onnx "model.onnx"
input "x" { rescale 1/255 }
data calib from npz "calib.npz"
quantize static { weights int8 symmetric per_channel; activations uint8 affine per_tensor; calibrate minmax on calib }
target ort
"""
NET = """g (float[1,3,16,16] x) => (float[1,10] y) {
    [stem] c0 = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    [stem_relu] t0 = Relu(c0)
    [left] c1 = Conv <pads = [1, 1, 1, 1]> (t0, w1, b1)
    [left_sigmoid] s1 = Sigmoid(c1)
    [left_mul] t1 = Mul(c1, s1)
    [join] t2 = Add(t1, t0)
    [pool] t3 = GlobalAveragePool(t2)
    [flat] t4 = Flatten(t3)
    [head] y = Gemm <transB = 1> (t4, w2, b2)
}"""
SHAPES: dict[str, tuple[int, ...]] = {
    "w0": (32, 3, 3, 3), "b0": (32,), "w1": (32, 32, 3, 3), "b1": (32,), "w2": (10, 32), "b2": (10,)
}  # fmt: skip


def net() -> Model:
    draw = np.random.default_rng(5)
    return model_of(NET, **{name: draw.standard_normal(shape) * 0.2 for name, shape in SHAPES.items()})


def samples(count: int = 4, name: str = "x", shape: tuple[int, ...] = (1, 3, 16, 16), top: float = 1.0) -> list[Sample]:
    draw = np.random.default_rng(7)
    return [Sample(i, f"s{i}", {name: draw.random(shape, np.float32) * np.float32(top)}) for i in range(count)]


def recipe_of(text: str = RECIPE) -> Recipe:
    return loads(text, name="example.q").recipe


def plan_of(model: Model, text: str = RECIPE) -> Plan:
    return decide(recipe_of(text), model.view(), "ort", float_bytes=len(to_bytes(model)), diags=Diagnostics()).plan


def ranges_of(model: Model, plan: Plan, data: list[Sample]) -> Ranges:
    """Ranges from running the float model, every tensor exposed."""
    names = [tensor.tensor for tensor in plan.tensors if tensor.observe]
    inner = [name for name in names if name not in model.view().inputs]
    proto = to_proto(model)
    public = {info.name for info in proto.graph.output}
    proto.graph.output.extend(ValueInfoProto(name=name) for name in inner if name not in public)
    runtime = session(proto)
    seen: dict[str, list[Any]] = {name: [] for name in names}
    for sample in data:
        found = dict(zip(inner, runtime.run(inner, dict(sample.arrays)), strict=True)) if inner else {}
        for name in names:
            seen[name].append(found.get(name, sample.arrays.get(name)))
    low = {name: float(min(v.min() for v in values)) for name, values in seen.items()}
    high = {name: float(max(v.max() for v in values)) for name, values in seen.items()}
    return Ranges(low, high, len(data), len(data))


def emitted(folder: Path, model: Model | None = None, text: str = RECIPE) -> tuple[Model, Plan, Emitted]:
    model = model or net()
    plan = plan_of(model, text)
    return model, plan, emit(model, plan, ranges_of(model, plan, samples()), folder, inputs=recipe_of(text).inputs)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_it_writes_model_and_manifest_and_nothing_else(tmp_path: Path) -> None:
    _, _, made = emitted(tmp_path)
    assert sorted(path.name for path in (tmp_path / "ort").iterdir()) == ["manifest.json", "model.onnx"]
    assert (made.model, made.manifest) == (tmp_path / "ort" / "model.onnx", tmp_path / "ort" / "manifest.json")
    assert made.size == made.model.stat().st_size


def test_the_manifest_says_what_the_artifact_is(tmp_path: Path) -> None:
    _, plan, made = emitted(tmp_path)
    content = json.loads(made.manifest.read_text(encoding="utf-8"))
    data = made.model.read_bytes()
    assert content["files"] == [{"name": "model.onnx", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]
    assert content["plan_sha256"] == plan_hash(plan)
    assert (content["opset"], content["ir_version"]) == ({"ai.onnx": 17}, 8)
    assert content["predicted"]["integer_kernels"]["QLinearConv"] == 2
    assert content["nodes"]["QuantizeLinear"] == len(plan.tensors)
    steps = content["inputs"][0].pop("preprocessing")
    assert steps == [{"step": "rescale", "values": [pytest.approx(1 / 255)]}]
    assert content["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 3, 16, 16]}]
    assert content["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 10]}]
    assert str(tmp_path) not in made.manifest.read_text(encoding="utf-8")


def test_the_model_carries_recipe_plan_and_origins(tmp_path: Path) -> None:
    model, plan, made = emitted(tmp_path)
    proto = onnx.load(made.model)
    assert {p.key: p.value for p in proto.metadata_props}.items() >= {
        "qdsl.recipe": "example",
        "qdsl.plan_sha256": plan_hash(plan),
    }.items()
    old = {node.name for node in model.nodes()}
    assert {node.name for node in proto.graph.node} - old == set(origins(proto.graph.node))
    assert old <= {node.name for node in proto.graph.node}


def test_the_float_model_stays_as_it_was(tmp_path: Path) -> None:
    model = net()
    before = to_bytes(model)
    emitted(tmp_path, model)
    assert to_bytes(model) == before


def test_float_weights_are_gone_and_the_size_is_as_predicted(tmp_path: Path) -> None:
    model, _, made = emitted(tmp_path)
    proto = onnx.load(made.model)
    assert not {tensor.name for tensor in proto.graph.initializer} & set(SHAPES)
    weights = sum(math.prod(shape) for shape in SHAPES.values())
    assert made.size < weights + 12_000
    assert made.size < 0.6 * len(to_bytes(model))


@pytest.mark.slow
@pytest.mark.parametrize("name", few_of(["mlperf_resnet8_float", "FastestDet", "yolox_nano"], 2))
def test_the_size_of_real_models_is_near_the_prediction(name: str, testdata: Path, tmp_path: Path) -> None:
    model = load(testdata / "models" / f"{name}.onnx")
    canonicalise(model)
    entry = model.view().inputs[0]
    shape = tuple(d if isinstance(d, int) else 1 for d in model.view().tensors[entry].shape or ())
    text = RECIPE.replace('input "x"', f'input "{entry}"')
    plan = plan_of(model, text)
    made = emit(model, plan, ranges_of(model, plan, samples(1, entry, shape)), tmp_path)
    assert made.size == pytest.approx(made.predicted_size, rel=0.08)


def test_two_emits_give_the_same_bytes(tmp_path: Path) -> None:
    first = emitted(tmp_path / "a")[2]
    second = emitted(tmp_path / "b")[2]
    assert first.model.read_bytes() == second.model.read_bytes()
    assert first.manifest.read_bytes() == second.manifest.read_bytes()


@pytest.mark.slow
def test_the_hash_seed_does_not_matter(tmp_path: Path) -> None:
    program = "import sys, pathlib, test_emit; test_emit.emitted(pathlib.Path(sys.argv[1]))"
    here = Path(__file__).parent
    for seed in ("0", "1", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
        subprocess.run([sys.executable, "-c", program, str(tmp_path / seed)], env=env, check=True)
    found = {(tmp_path / seed / "ort" / "model.onnx").read_bytes() for seed in ("0", "1", "77")}
    assert len(found) == 1
    assert len({(tmp_path / seed / "ort" / "manifest.json").read_bytes() for seed in ("0", "1", "77")}) == 1


def test_weights_too_many_for_one_file_go_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (qdsl.graph.saving, verifying):
        monkeypatch.setattr(module, "LARGEST_INLINE", 1000)
    (tmp_path / "ort").mkdir()
    stale = tmp_path / "ort" / "model.onnx.0123456789ab.data"
    stale.write_bytes(b"older")
    model = net()
    plan = plan_of_inline(model)
    made = emit(model, plan, ranges_for(plan), tmp_path)
    inside, beside = made.files
    assert (inside.name, beside.name.startswith("model.onnx."), beside.bytes > 9000) == ("model.onnx", True, True)
    assert not stale.exists()
    found = verify(model, made, plan, samples(2))
    assert found.as_predicted and (found.outputs[0].sqnr_db or 0) > 15


def plan_of_inline(model: Model) -> Plan:
    return decide(recipe_of(), model.view(), "ort", float_bytes=50_000, diags=Diagnostics()).plan


def ranges_for(plan: Plan) -> Ranges:
    names = [tensor.tensor for tensor in plan.tensors]
    return Ranges(dict.fromkeys(names, -4.0), dict.fromkeys(names, 8.0), 1, 1)


# ---- comparison ------------------------------------------------------------------------------------------------------


def test_the_artifact_is_held_against_the_float_model(tmp_path: Path) -> None:
    model, plan, made = emitted(tmp_path)
    found = verify(model, made, plan, samples(12), count=8)
    assert (found.samples, found.layer_samples) == (8, 2)
    (output,) = found.outputs
    assert (output.tensor, output.node, output.samples) == ("y", "head", 8)
    assert 25 < (output.sqnr_db or 0) < 70
    assert 0.99 < (output.cosine or 0) <= 1
    worst = [fidelity.sqnr_db or 0.0 for fidelity in found.worst]
    assert len(worst) == 5 and worst == sorted(worst)
    assert {fidelity.node for fidelity in found.worst} <= {node.name for node in model.nodes()}


def test_what_runs_in_integers_is_what_the_plan_said(tmp_path: Path) -> None:
    model, plan, made = emitted(tmp_path)
    found = verify(model, made, plan, samples(1))
    assert found.as_predicted, found.mismatches
    counts = {kernel.kernel: (kernel.predicted, kernel.real) for kernel in found.kernels}
    assert counts["Conv"] == (2, 2)
    assert dict(found.op_counts)["QLinearConv"] == 2
    assert runs_as(made.model, tmp_path)["QLinearConv"] == 2


def test_a_node_that_runs_otherwise_is_listed(tmp_path: Path) -> None:
    _, plan, _ = emitted(tmp_path)
    ran = {node.node: Ran(node.prediction.runs, node.prediction.kernel) for node in plan.nodes}
    assert mismatches(plan, Reality(ran, {})) == ()
    (found,) = mismatches(plan, Reality(ran | {"left": Ran("float", "FusedConv")}, {}))
    assert (found.node, found.op, found.predicted, found.real) == (
        "left",
        "Conv",
        "integer (QLinearConv)",
        "float (FusedConv)",
    )


def test_worst_layers_do_not_depend_on_how_they_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan, made = emitted(tmp_path)
    whole = verify(model, made, plan, samples(2))
    monkeypatch.setattr("qdsl.targets.ort.layers._LARGEST_CHUNK", 1)
    assert verify(model, made, plan, samples(2)) == whole


def test_a_weight_only_product_is_held_against_float_arithmetic(tmp_path: Path) -> None:
    model = model_of("g (float[4,64] x) => (float[4,32] y) { [mm] y = MatMul(x, w) }", opset=21, ir=10, w=(64, 32))
    stored_only = weight("mm", 1, "w", scheme("int8", True), None)
    plan = replace(plan_of(net()), nodes=(), tensors=(), weights=(stored_only,), biases=())
    made = emit(model, plan, Ranges({}, {}, 0, 0), tmp_path)
    found = verify(model, made, plan, samples(2, shape=(4, 64)))
    stored = onnx.numpy_helper.to_array(next(t for t in onnx.load(made.model).graph.initializer if t.dims == [64, 32]))
    scale = onnx.numpy_helper.to_array(next(t for t in onnx.load(made.model).graph.initializer if "scale" in t.name))
    w = model.values("w").astype(np.float64)
    x = np.concatenate([sample.arrays["x"] for sample in samples(2, shape=(4, 64))]).astype(np.float64)
    noise = ((x @ w - x @ (stored.astype(np.float64) * float(scale))) ** 2).sum()
    assert found.outputs[0].sqnr_db == pytest.approx(10 * math.log10(((x @ w) ** 2).sum() / noise), abs=0.05)


def test_an_artifact_that_changes_nothing_is_exact(tmp_path: Path) -> None:
    model = model_of("g (float[4] x) => (float[4] y) { [neg] y = Neg(x) }")
    plan = replace(plan_of(net()), nodes=(), tensors=(), weights=(), biases=())
    made = emit(model, plan, Ranges({}, {}, 0, 0), tmp_path)
    found = verify(model, made, plan, samples(3, shape=(4,)))
    assert (found.outputs[0].sqnr_db, found.outputs[0].cosine, found.outputs[0].largest_error) == (math.inf, 1.0, 0.0)
    assert found.worst == ()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0, 2))
def test_agreement_is_the_textbook_formula(seed: int, parts: int, spread: float) -> None:
    draw = np.random.default_rng(seed)
    pairs = [(x := draw.standard_normal((3, 5)), x + spread * draw.standard_normal((3, 5))) for _ in range(parts)]
    total = Agreement()
    for x, y in pairs:
        total.add(x.astype(np.float32), y.astype(np.float32))
    x = np.concatenate([p[0].astype(np.float32).ravel() for p in pairs]).astype(np.float64)
    y = np.concatenate([p[1].astype(np.float32).ravel() for p in pairs]).astype(np.float64)
    noise = float(((x - y) ** 2).sum())
    expected = math.inf if noise == 0 else 10 * math.log10(float((x * x).sum()) / noise)
    assert total.sqnr_db == pytest.approx(expected)
    assert total.cosine == pytest.approx(float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)))


@pytest.mark.parametrize("other", [np.ones((2, 3)), np.array([[1.0, np.nan]]), np.array([["a", "b"]])])
def test_what_cannot_be_compared_has_no_figure(other: Any) -> None:
    total = Agreement()
    total.add(np.ones((1, 2)), other)
    total.add(np.ones((1, 2)), np.ones((1, 2)))
    assert (total.sqnr_db, total.cosine, total.samples) == (None, None, 2)
    assert total.fidelity("t", "n").largest_error is None


def test_layers_are_read_as_integers_under_the_names_of_the_float_model(tmp_path: Path) -> None:
    _, plan, made = emitted(tmp_path)
    found = layers(onnx.load(made.model), [tensor.tensor for tensor in plan.tensors])
    assert {layer.tensor for layer in found} == {tensor.tensor for tensor in plan.tensors}
    assert all(layer.scale is not None for layer in found)
    (output,) = [layer for layer in found if layer.tensor == "y"]
    assert output.exposed == "y_quantized"


def test_chunks_stay_within_memory() -> None:
    view = net().view()
    found = [Layer(name, name) for name in ("t0", "t1", "t2", "t3", "unknown")]
    assert [layer for part in chunks(found, view) for layer in part] == found


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_an_unknown_target_is_named_with_those_there_are() -> None:
    with pytest.raises(QdslError, match="no target `orr`") as raised:
        target_of("orr")
    assert raised.value.diagnostics[0].help == ("the targets are `ort`, `tensorrt`",)


def test_the_index_reaches_emit_and_verify(tmp_path: Path) -> None:
    model = net()
    plan, data = plan_of(model), samples(2)
    made = target_of("ort").emit(model, plan, ranges_of(model, plan, data), tmp_path)
    found = target_of("ort").verify(model, made, plan, data, count=1)
    assert isinstance(found, Verification) and found.samples == 1


CONV = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { [conv] y = Conv(x, w, b) }"
BROKEN_BY: dict[str, str] = {
    "model.onnx has a Relu with an attribute of its own": CONV.replace("}", "[more] z = Relu <odd = 1> (y) }").replace(
        " y) {", " z) {"
    ),
}
UNKNOWN = CONV.replace("}", "[more] z = nowhere.Mystery(y) }").replace(" y) {", " z) {")


def raise_example(code: str, folder: Path) -> None:
    """What `compile` does with the example of `code`, from the plan on."""
    setup = CODES[code].setup
    w, top = np.ones((2, 2, 1, 1)), 1.0
    if "NaN" in setup:
        w[1, 0] = np.nan
    if "1e35" in setup:
        w, top = w * 1e35, 1e35
    # What `compile` refuses of the float model before it plans, emit and verify refuse for themselves.
    unknown = code == "artifact-refused"
    model = model_of(UNKNOWN if unknown else BROKEN_BY.get(setup, CONV), w=w, b=np.ones(2))
    plan = plan_of(model, CODES["artifact-invalid" if unknown else code].example)
    names = [tensor.tensor for tensor in plan.tensors]
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, top)
    if setup == "the range of x is infinite":
        high["x"] = math.inf
    if setup == "the ranges lack x":
        del low["x"]
    if "a file stands" in setup:
        (folder / "ort").write_text("in the way")
    made = emit(model, plan, Ranges(low, high, 1, 1), folder)
    verify(model, made, plan, samples(1, shape=(1, 2, 4, 4)))


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_example_of_a_code_raises_it(code: str, tmp_path: Path) -> None:
    with pytest.raises(QdslError) as raised:
        raise_example(code, tmp_path)
    assert code in [diagnostic.code for diagnostic in raised.value.diagnostics]
    assert all(diagnostic.headline for diagnostic in raised.value.diagnostics)


def test_a_failed_emit_leaves_the_artifact_that_was_there(tmp_path: Path) -> None:
    _, _, made = emitted(tmp_path)
    before = made.model.read_bytes(), made.manifest.read_bytes()
    with pytest.raises(QdslError):
        raise_example("artifact-invalid", tmp_path)
    assert (made.model.read_bytes(), made.manifest.read_bytes()) == before
    assert sorted(path.name for path in (tmp_path / "ort").iterdir()) == ["manifest.json", "model.onnx"]
