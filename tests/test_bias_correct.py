"""`improve { bias_correct }`: biases that make up for what rounded weights add to the mean of an output channel."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import HEAD, cli, project, session
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

import qdsl
from qdsl.calibrate.means import channel_means
from qdsl.cli import main
from qdsl.data import Dataset, ModelInput
from qdsl.data import open as open_data
from qdsl.diag import Diagnostics, QdslError
from qdsl.quant import mean_shift
from qdsl.work.prepared import prepare, read

IMPROVED = "improve { bias_correct }\n"

# conv1 and conv2 share one bias; the Gemm reads two means that differ.
SHARED = """
net (float[1, 3, 8, 8] x) => (float[1, 5] y) {
  [conv1] a = Conv <kernel_shape = [1, 1]> (x, w1, b)
  [relu] r = Relu (a)
  [conv2] c = Conv <kernel_shape = [3, 3], group = 2> (r, w2, b)
  [pool] p = GlobalAveragePool (c)
  [flatten] f = Flatten (p)
  [gemm] y = Gemm <GEMM> (f, w3, b3)
}
"""


def shared_net(opset: int = 17, trans: int = 1) -> ModelProto:
    """Weights whose rounding is one-sided: 0.4 of a step too small in every element but the largest."""
    text = SHARED.replace("GEMM", f"transB = {trans}")
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    shapes = {"w1": (4, 3, 1, 1), "w2": (4, 2, 3, 3), "w3": (5, 4)}
    for name, shape in shapes.items():
        steps = np.random.default_rng(len(name) + shape[1]).integers(-20, 40, shape) + 0.4
        steps.reshape(shape[0], -1)[:, 0] = 127
        value = (steps / 100).astype(np.float32)
        value = np.ascontiguousarray(value.T) if name == "w3" and not trans else value
        proto.graph.initializer.append(numpy_helper.from_array(value, name))
    for name, size in {"b": 4, "b3": 5}.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.linspace(-1, 1, size, dtype=np.float32), name))
    return proto


def shifts(folder: Path, rules: str, proto: ModelProto, target: str = "ort") -> tuple[Any, dict[str, Any]]:
    """The compilation, and by how much the mean of each output channel of Conv and Gemm moved."""
    recipe = project(folder, rules, proto=proto)
    data = np.random.default_rng(1).uniform(0, 2, (6, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "calib.npz", x=data)
    (made,) = qdsl.compile(recipe, out=folder / "build", lock=False, target=target).targets
    names = {node.name: node.output[0] for node in proto.graph.node if node.op_type in ("Conv", "Gemm")}
    emitted = onnx.load(made.emitted.model)
    here = {node.name: node.output[0] for node in emitted.graph.node}
    wanted = means(proto, names, data)
    got = means(emitted, {name: here[name] for name in names}, data)
    return made, {name: np.abs(got[name] - wanted[name]).max() for name in names}


def means(proto: ModelProto, names: dict[str, str], data: np.ndarray[Any, Any]) -> dict[str, Any]:
    copy = ModelProto()
    copy.CopyFrom(proto)
    public = {info.name for info in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values() if name not in public)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [run.run(list(names.values()), {"x": row[None]}) for row in data]
    axes = [tuple(axis for axis in range(value.ndim) if axis != 1) for value in found[0]]
    return {name: np.mean([row[i].mean(axes[i]) for row in found], 0) for i, name in enumerate(names)}


@pytest.mark.parametrize("trans", [0, 1])
def test_means_come_back(trans: int, tmp_path: Path) -> None:
    """What is left is the rounding of activations, which nothing here moves."""
    _, plain = shifts(tmp_path / "plain", "", shared_net(trans=trans))
    made, corrected = shifts(tmp_path / "corrected", IMPROVED, shared_net(trans=trans))
    for name in ("conv1", "conv2", "gemm"):
        assert corrected[name] < plain[name] / 5, (name, plain, corrected)
    assert made.verification.as_predicted


def test_biases_that_stay_float_are_moved_alike(tmp_path: Path) -> None:
    """TensorRT takes no int32 bias."""
    found = {}
    for name, rules in (("plain", ""), ("corrected", IMPROVED)):
        rules += "target tensorrt { quantize static { activations 8 bit } }\n"
        found[name] = shifts(tmp_path / name, rules, shared_net(), "tensorrt")
    (_, plain), (made, corrected) = found["plain"], found["corrected"]
    for name in ("conv1", "conv2", "gemm"):
        assert corrected[name] < plain[name] / 5, (name, plain, corrected)
    proto = onnx.load(made.emitted.model)
    stored = {node.name: node.input[2] for node in proto.graph.node if node.op_type in ("Conv", "Gemm")}
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert len(set(stored.values())) == 3
    assert {kinds[name] for name in stored.values()} == {onnx.TensorProto.FLOAT}


def test_nodes_that_shared_a_bias_get_one_each(tmp_path: Path) -> None:
    made, _ = shifts(tmp_path, IMPROVED, shared_net())
    proto = onnx.load(made.emitted.model)
    writer = {node.output[0]: node for node in proto.graph.node}
    stored = {n.name: writer[n.input[2]].input[0] for n in proto.graph.node if n.op_type == "Conv"}
    assert stored["conv1"] != stored["conv2"]


@pytest.mark.parametrize("opset", [13, 18])
def test_channel_means_are_those_of_the_float_model(opset: int, tmp_path: Path) -> None:
    recipe = project(tmp_path, proto=shared_net(opset))
    prepared = prepare(read(recipe, {}))
    heard: list[tuple[int, int]] = []
    found = channel_means(
        prepared.model, ["x", "r", "f"], dataset_of(prepared), most=4, progress=lambda *told: heard.append(told)
    )
    data = np.load(tmp_path / "calib.npz")["x"][:4]
    expected = means(shared_net(opset), {"x": "x", "r": "r", "f": "f"} | {}, data)
    assert list(found) == ["f", "r", "x"]
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6)


def dataset_of(prepared: Any) -> Dataset:
    view = prepared.view
    takes = {n: ModelInput(view.tensors[n].dtype or "float32", view.tensors[n].shape) for n in view.inputs}
    return open_data(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes, Diagnostics())


def test_a_channel_without_a_finite_mean_names_tensor_and_sample(tmp_path: Path) -> None:
    recipe = project(tmp_path, proto=shared_net())
    data = np.ones((2, 3, 8, 8), np.float32)
    data[1] = 3e38
    np.savez(tmp_path / "calib.npz", x=data)
    prepared = prepare(read(recipe, {}))
    with pytest.raises(QdslError) as caught:
        channel_means(prepared.model, ["r"], dataset_of(prepared))
    (told,) = caught.value.diagnostics
    assert told.code == "calibration-non-finite"
    assert "tensor r " in told.headline and "1" in told.headline


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_the_shift_is_the_mean_of_the_error_on_constant_channels(
    groups: int, inputs: int, outputs: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    error = draw.standard_normal((groups * outputs, inputs, 2, 2))
    means = draw.standard_normal(groups * inputs)
    expected = [
        sum((error[o, i] * means[(o // outputs) * inputs + i]).sum() for i in range(inputs))
        for o in range(groups * outputs)
    ]
    np.testing.assert_allclose(mean_shift(error, means), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("shape", "count"), [((4, 2, 1), 3), ((3, 2, 1), 4), ((4, 0, 1), 4), ((4,), 4)])
def test_weights_that_do_not_fit_their_means_are_refused(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(ValueError, match="fit"):
        mean_shift(np.ones(shape), np.ones(count))


def test_the_lock_gives_the_same_bytes_without_data(tmp_path: Path) -> None:
    recipe = project(tmp_path, IMPROVED)
    first = qdsl.compile(recipe, out=tmp_path / "one", workers=1)
    (tmp_path / "calib.npz").unlink()
    second = qdsl.compile(recipe, out=tmp_path / "two", locked=True)
    assert second.from_lock
    one, two = (result.targets[0].emitted.model.read_bytes() for result in (first, second))
    assert one == two
    text = (tmp_path / "demo.lock").read_text(encoding="utf-8")
    assert sum(line.startswith("mean ") for line in text.splitlines()) == len(first.ranges.means) > 0


def test_plan_tells_that_the_lock_has_the_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path, IMPROVED)
    assert main(["plan", str(recipe)]) == 0
    assert "open: biases of" in capsys.readouterr().out
    qdsl.compile(recipe, out=tmp_path / "one")
    assert main(["plan", str(recipe)]) == 0
    shown = capsys.readouterr().out
    assert "locked: biases of" in shown and "open:" not in shown


def test_means_of_other_channels_make_the_lock_stale(tmp_path: Path) -> None:
    recipe = project(tmp_path, IMPROVED)
    qdsl.compile(recipe, out=tmp_path / "one")
    path = tmp_path / "demo.lock"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]
    at = next(i for i, line in enumerate(lines) if line.startswith("mean "))
    lines[at] = " ".join(lines[at].split(" ")[:-1]) + "\n"
    body = "".join(lines)
    path.write_text(f"{body}sum {hashlib.sha256(body.encode()).hexdigest()}\n", encoding="utf-8")
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "two")
    (told,) = caught.value.diagnostics
    assert told.code == "lock-stale" and "channels, the lock has" in told.headline


def test_neither_workers_nor_batches_change_a_byte(tmp_path: Path) -> None:
    recipe = project(tmp_path, IMPROVED)
    made = [
        qdsl.compile(recipe, out=tmp_path / str(n), workers=n, batch=n, lock=False)
        .targets[0]
        .emitted.model.read_bytes()
        for n in (1, 3)
    ]
    assert made[0] == made[1]


def test_a_lock_from_before_is_stale(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    qdsl.compile(recipe, out=tmp_path / "build")
    recipe.write_text(HEAD + IMPROVED, encoding="utf-8")
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "build")
    (told,) = caught.value.diagnostics
    assert told.code == "lock-stale" and "improve" in told.headline


@pytest.mark.slow
def test_plan_and_explain_tell_of_it(tmp_path: Path) -> None:
    recipe = project(tmp_path, IMPROVED + 'keep "gemm" in float32\n')
    (plan,) = qdsl.plan(recipe).plans
    assert "biases of 4 nodes: bias_correct on calib" in plan.open
    assert {bias.corrected_on for bias in plan.biases} == {"calib"}
    (told,) = qdsl.explain(recipe, "stem")
    line = recipe.read_text(encoding="utf-8").split("\n").index(IMPROVED.strip()) + 1
    assert f"improve bias_correct, line {line}" in told.text
    (kept,) = qdsl.explain(recipe, "gemm")
    assert "bias_correct" not in kept.text
    shown = cli("plan", recipe, "--json")
    (document,) = json.loads(shown.stdout)["plans"]
    assert {bias["corrected_on"] for bias in document["biases"]} == {"calib"}


def test_it_is_the_only_difference_in_the_artifact(tmp_path: Path) -> None:
    """Only biases move: every other initializer stays as it is."""
    made = {}
    for name, rules in (("plain", ""), ("corrected", IMPROVED)):
        recipe = project(tmp_path / name, rules)
        made[name] = onnx.load(qdsl.compile(recipe, out=tmp_path / "build" / name, lock=False).targets[0].emitted.model)
    plain, corrected = ({i.name: numpy_helper.to_array(i) for i in made[n].graph.initializer} for n in made)
    moved = {name for name in plain if name not in corrected or not np.array_equal(plain[name], corrected[name])}
    assert moved == {"b1_quantized", "b2_quantized", "b3_quantized", "b4_quantized", "b5_quantized"}
    assert session(tmp_path / "build" / "corrected" / "demo" / "ort" / "model.onnx")
