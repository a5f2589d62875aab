"""What is said of a file that is measured as it is does not depend on the CPU that compiled it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_files import integer_conv, integer_matmul, operator_model
from saturation import has_vnni

import qdsl
from qdsl.diag import QdslError

RECIPE = """recipe asis
model onnx "model.onnx"
data val from npz "val.npz"
{mode}
target ort {{ threads 1 }}
{rest}
"""
MEASURED = "evaluate fidelity on val { measure sqnr }"
FULL = np.full((4, 4, 1, 1), 127, np.int8)
MATRIX = np.full((32, 16), 127, np.int8)
DYNAMIC = operator_model("DynamicQuantizeMatMul", "x w ws", np.zeros((4, 32), np.float32), w=MATRIX, ws=np.float32(1))
FILES = {
    "QDQ": integer_conv(FULL),
    "QLinearConv": integer_conv(FULL, operators=True),
    "MatMulInteger": integer_matmul(MATRIX),
    "DynamicQuantizeMatMul": DYNAMIC,
}


def project(folder: Path, model: onnx.ModelProto, mode: str = "quantize none") -> Path:
    onnx.save(model, folder / "model.onnx")
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).uniform(0.7, 1, (4, *shape)).astype(np.float32)
    np.savez(folder / "val.npz", x=x[:, 0] if shape[0] == 1 else x)
    path = folder / "asis.q"
    path.write_text(RECIPE.format(mode=mode, rest=MEASURED if mode == "quantize none" else ""), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", FILES)
def test_goldens_are_exact_wherever_they_are_made(kind: str, tmp_path: Path) -> None:
    result = qdsl.compile(project(tmp_path, FILES[kind]), out=tmp_path / "build", lock=False)
    bench = result.directory / "ort" / "bench"
    with np.load(bench / "golden_float.npz") as floats, np.load(bench / "golden_ort.npz") as ours:
        np.testing.assert_array_equal(floats["y"], ours["y"])
    found = qdsl.verify(result.directory)
    assert found.holds is has_vnni()
    if not has_vnni():
        assert "computes-otherwise" in {each.code for each in found.diagnostics}


@pytest.mark.parametrize("kind", FILES)
def test_what_runs_in_integers_is_said_of_every_operator(kind: str, tmp_path: Path) -> None:
    result = qdsl.compile(project(tmp_path, FILES[kind]), out=tmp_path / "build", lock=False)
    (made,) = result.targets
    assert made.plan.totals.integer_nodes == 1
    assert not made.verification.mismatches
    (check,) = qdsl.verify(result.directory).checks
    assert sum(real for _, _, real in check.kernels) == 1 and check.as_predicted
    (note,) = [each for each in result.diagnostics if each.code == "no-float-model"]
    assert note.headline.startswith("there is no float model: ")


OPERATORS = ["DynamicQuantizeMatMul", "MatMulInteger", "QLinearConv"]
MODES = ["static { calibrate minmax on val }", "dynamic { weights 8 bit }", "float { weights float16 }"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", OPERATORS)
def test_a_quantized_file_is_not_quantized_again(kind: str, mode: str, tmp_path: Path) -> None:
    with pytest.raises(QdslError, match="already-quantized"):
        qdsl.plan(project(tmp_path, FILES[kind], f"quantize {mode}"))


def test_a_first_recipe_of_it_measures_it_as_it_is(tmp_path: Path) -> None:
    onnx.save(DYNAMIC, tmp_path / "model.onnx")
    made = qdsl.new(tmp_path / "model.onnx", out=tmp_path / "first.q")
    assert "quantize none" in made.text


def test_attention_in_integers_does_not_stay_float(tmp_path: Path) -> None:
    x, w = np.zeros((1, 4, 16), np.uint8), np.full((16, 24), 5, np.int8)
    scales = {"xs": np.float32(0.1), "ws": np.float32(0.1), "b": np.zeros(24, np.float32)}
    proto = operator_model("QAttention", "x w b xs ws", x, w=w, num_heads=1, **scales)
    onnx.save(proto, tmp_path / "model.onnx")
    (tmp_path / "asis.q").write_text(
        'recipe asis\nmodel onnx "model.onnx"\nquantize none\ntarget ort\n', encoding="utf-8"
    )
    result = qdsl.compile(tmp_path / "asis.q", out=tmp_path / "build", lock=False)
    assert "model-optimized" not in {each.code for each in result.diagnostics}
    assert result.targets[0].plan.totals.integer_nodes == 1
    assert result.targets[0].plan.totals.macs == 4 * 16 * 24 + 2 * 4 * 4 * 8
