"""Files that are measured as they are: scales that the runtime's fused kernels do not read are told, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from foreign_files import folded, scaled

import qdsl

RECIPE = 'recipe asis\nmodel onnx "model.onnx"\nquantize none\ntarget ort\n'
DRAW = np.random.default_rng(1)
SQUARE, KERNEL = (DRAW.integers(-60, 61, shape).astype(np.int8) for shape in ((8, 8), (8, 8, 3, 3)))
HUGE = np.full(8, 2.2e5, np.float32)
INTEGERS = np.linspace(-6000, 6000, 8).astype(np.int32)
# name: operator, weights, and how they are scaled; what is said, "" for nothing
CASES: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "conv": ("Conv", KERNEL, {"axis": 0}, ""),
    "conv, counted from the back": ("Conv", KERNEL, {"axis": -4}, ""),
    "conv, inputs": ("Conv", KERNEL, {"axis": 1}, "another axis"),
    "conv, axis left out": ("Conv", KERNEL, {"axis": None}, "another axis"),
    "gemm": ("Gemm", SQUARE, {"axis": 1}, ""),
    "gemm, rows": ("Gemm", SQUARE, {"axis": 0}, "another axis"),
    "gemm, transposed": ("Gemm", SQUARE, {"axis": 0, "transB": 1}, ""),
    "gemm, transposed, rows": ("Gemm", SQUARE, {"axis": 1, "transB": 1}, "another axis"),
    "gemm, bias of its own": ("Gemm", SQUARE, {"axis": 1, "bias": INTEGERS, "step": 0.002}, "not its own"),
    "conv, bias of its own": ("Conv", KERNEL, {"axis": 0, "bias": INTEGERS, "step": 0.002}, ""),
    "gemm, huge bias": ("Gemm", SQUARE, {"axis": 1, "bias": HUGE}, "past what int32 holds"),
    "gemm, one huge bias": ("Gemm", SQUARE, {"axis": 1, "bias": HUGE[:1]}, ""),
    "gemm, huge bias per row": ("Gemm", SQUARE, {"axis": 1, "bias": np.tile(HUGE, (4, 1))}, ""),
    "conv, float bias": ("Conv", KERNEL, {"axis": 0, "bias": np.full(8, 2.0, np.float32)}, ""),
    "conv, huge bias": ("Conv", KERNEL, {"axis": 0, "bias": HUGE}, "past what int32 holds"),
}


def answers(model: onnx.ModelProto, **entries: str) -> Any:
    """With the optimizations of the runtime, or (`as_written`) without."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if entries.pop("as_written", ""):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in entries.items():
        options.add_session_config_entry(f"session.{key}", value)
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", CASES)
def test_what_the_runtime_computes_otherwise_is_told(name: str, tmp_path: Path) -> None:
    operator, codes, how, said = CASES[name]
    model = scaled(operator, codes, **how)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "asis.q").write_text(RECIPE, encoding="utf-8")
    result = qdsl.compile(tmp_path / "asis.q", out=tmp_path / "build", lock=False)
    told = [found for found in result.diagnostics if found.code == "fused-otherwise"]
    assert [len(found.notes) for found in told] == ([1] if said else [])
    assert all(said in found.notes[0] and found.notes[0].startswith("node: ") for found in told)
    # The runtime itself, in steps of 0.1: one is rounding.
    written = answers(model, as_written="yes")
    apart = np.abs(answers(model) - written).max()
    assert apart > 0.35 if said else apart < 0.15
    assert np.abs(answers(model, disable_quant_qdq="1") - written).max() < 0.15, "the first cure"


def turned(axis: int) -> onnx.ModelProto:
    """A Conv whose weight is stored with its channels last, and its scales along `axis`."""
    scales = np.linspace(0.001, 0.05, KERNEL.shape[axis - 2] if axis > 1 else 3, dtype=np.float32)
    before = [
        onnx.helper.make_node("DequantizeLinear", ["v", "ws", "wz"], ["vd"], axis=axis),
        onnx.helper.make_node("Transpose", ["vd"], ["wd"], perm=[3, 2, 0, 1]),
    ]
    zeros = np.zeros(len(scales), np.int8)
    return folded(before, shape=(1, 8, 6, 6), v=KERNEL.transpose(2, 3, 1, 0), ws=scales, wz=zeros)


def unequal(operator: str) -> onnx.ModelProto:
    """A node with a float weight whose channels are of very different sizes."""
    shape = KERNEL.shape if operator == "Conv" else SQUARE.shape
    sizes = np.geomspace(0.001, 1, 8, dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
    w = np.random.default_rng(3).standard_normal(shape).astype(np.float32) * sizes
    before = [onnx.helper.make_node("Identity", ["w"], ["wd"])]
    return folded(before, operator, shape=(1, 8, 6, 6) if operator == "Conv" else (4, 8), w=w)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (turned(3), ""),
        (turned(2), "another axis"),
        (turned(0), "another axis"),
        (unequal("Conv"), "int8 that the runtime makes of the float weight"),
        (unequal("Gemm"), "int8 that the runtime makes of the float weight"),
        (unequal("MatMul"), ""),
    ],
    ids=["output channels", "input channels", "rows", "Conv", "Gemm", "MatMul"],
)
def test_what_the_runtime_folds_is_held_against_the_file(model: onnx.ModelProto, said: str, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "asis.q").write_text(RECIPE, encoding="utf-8")
    result = qdsl.compile(tmp_path / "asis.q", out=tmp_path / "build", lock=False)
    told = [found for found in result.diagnostics if found.code == "fused-otherwise"]
    assert [said in note and note.startswith("node: ") for found in told for note in found.notes] == [True] * bool(said)
    if not said:
        np.testing.assert_allclose(answers(model), answers(model, as_written="yes"), atol=0.25)
