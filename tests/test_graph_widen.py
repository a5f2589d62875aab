"""Models of 16 bit floats are read as float32, and quantize as the float32 model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from compile_tools import cli
from onnx import TensorProto, helper, numpy_helper
from test_cuts import compiled, fidelity, node, write

from qdsl.diag import QdslError
from qdsl.graph import from_proto, load, to_bytes

KINDS = {TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16}


def halved(path: Path, kind: int, *, external: bool = False) -> None:
    """The model in a type of 16 bits, its floats included."""
    model = onnx.load(path)
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT:
            info.type.tensor_type.elem_type = kind
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(KINDS[kind])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for each in model.graph.node:
        for attribute in each.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = kind
            if attribute.name == "value":
                values = numpy_helper.to_array(attribute.t).astype(KINDS[kind])
                attribute.t.CopyFrom(numpy_helper.from_array(values))
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)


def net(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Conv, SiLU, a Constant, Casts, ConstantOfShape and a Gemm; fresh samples."""
    draw = np.random.default_rng(8)
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "conv"),
        node("Sigmoid", ["c"], ["g"], "gate"),
        node("Mul", ["c", "g"], ["s"], "silu"),
        node("Constant", [], ["two"], "two", value=numpy_helper.from_array(np.float32(2))),
        node("Mul", ["s", "two"], ["d"], "double"),
        node("ConstantOfShape", ["one"], ["zero"], "zero", value=numpy_helper.from_array(np.zeros(1, np.float32))),
        node("Add", ["d", "zero"], ["e"], "add"),
        node("Cast", ["e"], ["h"], "cast", to=TensorProto.FLOAT),
        node("GlobalAveragePool", ["h"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flat"),
        node("Gemm", ["f", "v"], ["y"], "gemm"),
    ]
    constants = {
        "w": draw.standard_normal((8, 3, 3, 3)).astype(np.float32) * np.float32(0.2),
        "b": draw.standard_normal(8).astype(np.float32),
        "v": draw.standard_normal((8, 4)).astype(np.float32),
        "one": np.array([1]),
    }
    recipe = write(folder, nodes, constants, {"x": draw.standard_normal((16, 1, 3, 8, 8)).astype(np.float32)})
    return recipe, {"x": draw.standard_normal((6, 1, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_half_model_quantizes_as_its_float32_does(kind: int, external: bool, tmp_path: Path) -> None:
    recipe, fresh = net(tmp_path)
    whole = (tmp_path / "model.onnx").read_bytes()
    halved(tmp_path / "model.onnx", kind, external=external)
    result = compiled(recipe)
    (told,) = (d for d in result.diagnostics if d.code == "model-float16")
    assert "is a " in told.headline and "it is read as float32" in told.headline
    (target,) = result.targets
    assert target.verification.mismatches == ()
    runs = {each.op: each.prediction.runs for each in target.plan.nodes}
    assert runs["Conv"] == runs["Gemm"] == "integer"
    made = onnx.load(target.emitted.model)
    assert {i.type.tensor_type.elem_type for i in (*made.graph.input, *made.graph.output)} == {TensorProto.FLOAT}
    (tmp_path / "model.onnx").write_bytes(whole)
    assert fidelity(recipe, fresh) > 20


def test_values_stay_what_they_are(tmp_path: Path) -> None:
    net(tmp_path)
    halved(tmp_path / "model.onnx", TensorProto.FLOAT16, external=True)
    plain = {i.name: numpy_helper.to_array(i) for i in onnx.load(tmp_path / "model.onnx").graph.initializer}
    model = load(tmp_path / "model.onnx", widen=True)
    for name, values in plain.items():
        found = model.values(name)
        assert np.array_equal(found, values.astype(found.dtype))
        assert found.dtype == (np.float32 if values.dtype == np.float16 else values.dtype)
    onnx.checker.check_model(onnx.load_from_string(to_bytes(model)), full_check=True)


def test_bodies_are_widened_too() -> None:
    branch = helper.make_graph(
        [node("MatMul", ["x", "w"], ["r"]), node("Cast", ["r"], ["o"], to=TensorProto.FLOAT16)],
        "branch",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT16, None)],
        [numpy_helper.from_array(np.ones((4, 4), np.float16), "w")],
    )
    made = helper.make_graph(
        [node("If", ["flag"], ["y"], "if", then_branch=branch, else_branch=branch)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [2, 4]), helper.make_tensor_value_info("flag", 9, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, None)],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = from_proto(proto, widen=True)
    assert next(d.code for d in model.diagnostics) == "model-float16"
    text = onnx.printer.to_text(onnx.load_from_string(to_bytes(model)))
    assert "float16" not in text and "to: int = 10" not in text


@pytest.mark.parametrize(
    ("inner", "told"),
    [((), ", its inputs and outputs of that type, too"), (("y",), ", its inputs of that type, too"), (("x", "y"), "")],
)
def test_only_ports_of_16_bits_are_said_to_change(inner: tuple[str, ...], told: str) -> None:
    half, kept = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = [
        node("Cast", ["x"], ["a"], "down", to=half),
        node("MatMul", ["a", "w"], ["b"], "mm"),
        node("Cast", ["b"], ["y"], "up", to=kept if "y" in inner else half),
    ]
    ports = [helper.make_tensor_value_info(name, kept if name in inner else half, [2, 4]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((4, 4), np.float16), "w")
    made = helper.make_graph(nodes, "net", ports[:1], ports[1:], [weight])
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (found,) = (d for d in from_proto(proto, widen=True).diagnostics if d.code == "model-float16")
    assert found.headline.endswith(f"is a float16 model: it is read as float32{told}")


@pytest.mark.parametrize("widen", [False, True])
def test_other_models_keep_their_types(widen: bool, tmp_path: Path) -> None:
    """Without weights of 16 bits: a float32 model that casts on its way."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "mm"),
        node("Cast", ["a"], ["h"], "down", to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    write(tmp_path, nodes, {"w": np.ones((4, 4), np.float32)}, {"x": np.ones((2, 2, 4), np.float32)})
    model = load(tmp_path / "model.onnx", widen=widen)
    assert not [d for d in model.diagnostics if d.code == "model-float16"]
    assert model.view().tensors["h"].dtype == "float16"


@pytest.mark.slow
def test_the_lock_knows_the_file_beside_it(tmp_path: Path) -> None:
    recipe, _ = net(tmp_path)
    halved(tmp_path / "model.onnx", TensorProto.FLOAT16, external=True)
    compiled(recipe, lock=True)
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(bytes(data))
    said = cli("compile", recipe, "--no-measure")
    assert said.returncode == 1 and "error[lock-stale]" in said.stderr


def _emptied(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")


def _cut(tensor: TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-1]


def _below_0(tensor: TensorProto) -> None:
    tensor.dims[0] = -8


def _vast(tensor: TensorProto) -> None:
    tensor.dims[0] = 2**40


@pytest.mark.parametrize("damage", [_emptied, _cut, _below_0, _vast])
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_a_damaged_tensor_is_refused_at_its_place(kind: int, damage: Any, place: str, tmp_path: Path) -> None:
    net(tmp_path)
    halved(tmp_path / "model.onnx", kind)
    model = onnx.load(tmp_path / "model.onnx")
    if place == "attribute":
        (tensor,) = (each.attribute[0].t for each in model.graph.node if each.op_type == "ConstantOfShape")
    else:
        (tensor,) = (each for each in model.graph.initializer if each.name == "v")
    damage(tensor)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(QdslError) as caught:
        load(tmp_path / "model.onnx", widen=True)
    assert {found.code for found in caught.value.diagnostics} <= {"model-tensor-size", "model-dims"}
