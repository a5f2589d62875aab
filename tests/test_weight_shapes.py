"""Weights that are no matrix, and biases that are no vector: planned as they run, or left in float with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cuts import compiled, node, write

from qdsl.api.compiling import CompileResult
from qdsl.cli import main
from qdsl.steps.making import VERIFY_SAMPLES

WAYS = {
    "static, per channel": ("static", "int8 symmetric per_channel"),
    "static, per tensor": ("static", "int8 symmetric per_tensor"),
    "stored per channel": ("float", "int8 per_channel storage_only"),
    "stored per block": ("float", "int4 per_block 16 storage_only"),
}
# (16,) is stored per block by no one. What depends on the shape is where channels and blocks lie.
FACTORS = [(16, 12), (16, 1), (1, 16, 12), (4, 16, 12), (2, 4, 16, 12), (16,)]
BIASES = [(), (1,), (10,), (1, 1), (1, 10), (4, 1), (4, 10)]
SHAPED = ("static, per channel", "stored per block")


def made(folder: Path, way: str, nodes: list[Any], constants: dict[str, Any], shape: tuple[int, ...]) -> Path:
    x = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32)
    recipe = write(folder, nodes, constants, {"x": x})
    mode, weights = WAYS[way]
    text = recipe.read_text().replace("int8 symmetric per_channel reduce_range", weights)
    if mode == "float":
        text = text[: text.index("quantize")] + f"quantize float {{ weights {weights} }}\ntarget ort\n"
    recipe.write_text(text)
    return recipe


def product(folder: Path, way: str, factor: tuple[int, ...]) -> Path:
    """x times a constant, and a plain product behind it."""
    draw = np.random.default_rng(2)
    b = (draw.standard_normal(factor) * 0.1).astype(np.float32)
    rows = 12 if len(factor) > 1 and factor[-1] == 12 else factor[-1] if len(factor) > 1 else 8
    c = (draw.standard_normal((rows, 16)) * 0.1).astype(np.float32)
    nodes = [node("MatMul", ["x", "B"], ["a"], "first"), node("MatMul", ["a", "C"], ["y"], "second")]
    return made(folder, way, nodes, {"B": b, "C": c}, (4, 8, 16))


def sqnr(result: CompileResult) -> float:
    (target,) = result.targets
    assert target.verification.mismatches == ()
    (found,) = target.verification.outputs
    assert found.sqnr_db is not None
    return found.sqnr_db


@pytest.mark.parametrize(
    "factor, way",
    [(factor, way) for way in SHAPED for factor in FACTORS]
    + [((4, 16, 12), "static, per tensor"), ((16,), "static, per tensor")]
    + [((16, 1), "stored per channel"), ((2, 4, 16, 12), "stored per channel"), ((16,), "stored per channel")],
)
def test_factors_run_as_planned(factor: tuple[int, ...], way: str, tmp_path: Path) -> None:
    result = compiled(product(tmp_path, way, factor))
    assert sqnr(result) > (15 if "block" in way else 24)
    first = result.targets[0].plan.nodes[0]
    if factor == (16,) and "block" in way:
        assert (first.mark, first.note) == ("!", "stays float: a vector has no blocks of its own")
    else:
        assert first.mark == "+"
    assert ("for a stack of matrices" in first.note) is (len(factor) > 2 and way == "static, per channel")


@pytest.mark.parametrize(
    "bias, way",
    [(bias, "static, per channel") for bias in BIASES]
    + [((), "static, per tensor"), ((4, 10), "static, per tensor")]
    + [((1, 10), "stored per channel"), ((4, 1), "stored per channel"), ((10,), "stored per block")]
    + [((4, 10), "stored per block")],
)
def test_biases_run_as_planned(bias: tuple[int, ...], way: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    constants = {
        "B": draw.standard_normal((16, 10)),
        "C": draw.standard_normal(bias),
        "D": draw.standard_normal((10, 5)),
    }
    nodes = [node("Gemm", ["x", "B", "C"], ["g"], "first"), node("Gemm", ["g", "D"], ["y"], "second")]
    floats = {name: np.asarray(values * 0.1, np.float32) for name, values in constants.items()}
    result = compiled(made(tmp_path, way, nodes, floats, (4, 16)))
    assert sqnr(result) > (12 if "block" in way else 24)
    first, second = result.targets[0].plan.nodes
    assert second.mark == "+"
    rows = len(bias) == 2 and bias[0] == 4 and way == "static, per channel"
    assert (first.mark == "!" and "one bias per column" in first.note) is rows


def test_a_vector_alone_has_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [node("MatMul", ["x", "B"], ["y"], "first")]
    recipe = made(tmp_path, "stored per block", nodes, {"B": np.full(16, 0.3, np.float32)}, (4, 8, 16))
    assert main(["compile", str(recipe), "--no-lock", "--no-measure"]) == 1
    said = capsys.readouterr().err
    assert "error[nothing-to-quantize]" in said and "first: a vector has no blocks of its own" in said


def test_a_gemm_alone_has_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [node("Gemm", ["x", "B", "x"], ["y"], "first", beta=2.0)]
    constants = {"B": np.full((4, 4), 0.3, np.float32)}
    assert main(["plan", str(made(tmp_path, "static, per channel", nodes, constants, (4, 4)))]) == 1
    said = capsys.readouterr().err
    assert "error[nothing-to-quantize]" in said
    assert "kept in float; first: QGemm adds a bias only where alpha and beta are 1" in said


READERS = {
    "by a node that stays float": ('keep "second" in float32\n', "static, per channel"),
    "in two widths": ('layers "second" { weights int8 per_tensor }\n', "static, per channel"),
    "by a node that stays float, dynamic": ('keep "second" in float32\n', "dynamic"),
    "in two widths, dynamic": ('layers "second" { weights uint8 per_tensor }\n', "dynamic"),
}


@pytest.mark.parametrize("read", sorted(READERS))
def test_a_weight_that_is_stored_twice_counts_twice(read: str, tmp_path: Path) -> None:
    rules, way = READERS[read]
    b = (np.random.default_rng(4).standard_normal((96, 96)) * 0.1).astype(np.float32)
    nodes = [node("MatMul", ["x", "B"], ["a"], "first"), node("MatMul", ["a", "B"], ["y"], "second")]
    recipe = made(tmp_path, "static, per channel", nodes, {"B": b}, (4, 8, 96))
    text = recipe.read_text()
    if way == "dynamic":
        text = text[: text.index("quantize")] + "quantize dynamic { weights uint8 per_channel }\ntarget ort\n"
    recipe.write_text(text.replace("target ort", f"{rules}target ort"))
    (target,) = compiled(recipe).targets
    assert target.verification.as_predicted
    assert abs(target.plan.totals.predicted_bytes / target.emitted.size - 1) < 0.05


def free(folder: Path, shape: list[Any], nodes: list[Any], constants: dict[str, Any]) -> Path:
    """A dynamic build of a model whose input has free dimensions, and no data."""
    import onnx

    recipe = made(folder, "stored per channel", nodes, constants, (16,))
    model = onnx.load(folder / "model.onnx")
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape))
    del model.graph.value_info[:]
    onnx.save(model, folder / "model.onnx")
    lines = ["recipe cut", 'model onnx "model.onnx"', "quantize dynamic { weights int8 }"]
    recipe.write_text("\n".join([*lines, "layers all { weights int8 }", "target ort", ""]))
    return recipe


@pytest.mark.parametrize("shape", [["batch", "time", 16], ["n", "n", 16], [None, None, 16], ["batch", 7, "wide", 16]])
def test_free_dimensions_are_drawn(shape: list[Any], tmp_path: Path) -> None:
    weights = np.random.default_rng(4).standard_normal((16, 32)).astype(np.float32)
    nodes = [node("MatMul", ["x", "w"], ["a"], "first"), node("Relu", ["a"], ["y"], "relu")]
    result = compiled(free(tmp_path, shape, nodes, {"w": weights}))
    assert sqnr(result) > 24
    verification = result.targets[0].verification
    assert (verification.source, verification.samples) == ("drawn inputs", VERIFY_SAMPLES)
    assert not [d for d in result.diagnostics if d.code == "not-compared"]


def test_sizes_are_tried_until_the_model_runs(tmp_path: Path) -> None:
    """A Conv of 40 by 40 runs on 64, not on 16."""
    weights = np.random.default_rng(4).standard_normal((4, 2, 40, 40)).astype(np.float32)
    recipe = free(tmp_path, [1, 2, "h", "w"], [node("Conv", ["x", "w"], ["y"], "first")], {"w": weights})
    assert compiled(recipe).targets[0].verification.samples == VERIFY_SAMPLES


def test_what_cannot_be_drawn_is_told_with_a_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [node("Reshape", ["x", "all"], ["r"], "rows"), node("MatMul", ["r", "w"], ["y"], "first")]
    constants = {"all": np.array([1, 100, 16]), "w": np.full((16, 32), 0.5, np.float32)}
    recipe = free(tmp_path, [1, "rows", 16], nodes, constants)
    (told,) = (d for d in compiled(recipe).diagnostics if d.code == "not-compared")
    assert "no input is known that it runs on" in told.headline
    assert told.help[1] == 'or fix the shape: `input "x" { shape [..] }`'
    assert main(["compile", str(recipe), "--no-lock", "--no-measure"]) == 0
    assert "not compared" in capsys.readouterr().out
    recipe.write_text(recipe.read_text().replace("quantize", 'input "x" { shape [1, 100, 16] }\nquantize', 1))
    assert compiled(recipe).targets[0].verification.samples == VERIFY_SAMPLES
