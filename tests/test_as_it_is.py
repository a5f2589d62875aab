"""`quantize none`: a quantized file is the artifact, byte for byte; what runs is read, what it answers measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from test_evaluate import coloured, mean_colour, write

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError, Severity
from qdsl.harness import FLOAT, Key

RECIPE = """recipe asis
model onnx "{model}"
input {{ {steps} }}
data val from {data}
quantize none {body}
target ort {{ {target} }}
{rest}
"""


@cache
def _quantized(shared: Path) -> Path:
    coloured(shared)
    path = write(shared, mean_colour(np.eye(3)[::-1].copy()), "classification on val", 'folder "photos"')
    qdsl.compile(path, out=shared / "first", lock=False)
    return shared


Quantized = Callable[[Path], Path]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """Puts a model that qdsl quantized into a folder, with the pictures that it was calibrated on."""
    made = tmp_path_factory.mktemp("quantized")

    def copied(folder: Path) -> Path:
        shutil.copytree(_quantized(made), folder, dirs_exist_ok=True)
        return folder / "first" / "demo" / "ort" / "model.onnx"

    return copied


def recipe(folder: Path, model: Path, rest: str = "", body: str = "", target: str = "threads 1") -> Path:
    path = folder / "asis.q"
    text = RECIPE.format(
        model=model, steps="resize 8 stretch", data='folder "photos"', body=body, target=target, rest=rest
    )
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_is_the_artifact(quantized: Quantized, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = quantized(tmp_path)
    wanted = "evaluate classification on val { require top1 >= 0.7; require size <= 1 MB }"
    path = recipe(tmp_path, model, wanted)
    result = qdsl.compile(path, out=tmp_path / "build")
    (made,) = result.targets
    assert made.emitted.model.read_bytes() == model.read_bytes()
    first = qdsl.compile(tmp_path / "demo.q", out=tmp_path / "first", lock=False).evaluations[0]
    (evaluation,) = result.evaluations
    assert evaluation.of("ort").scores == first.of("ort").scores
    assert evaluation.of(FLOAT).scores[Key("top1")] == pytest.approx(0.75)
    assert [budget.verdict for budget in made.budgets] == ["holds", "holds"]
    assert [(k.kernel, k.predicted, k.real) for k in made.verification.kernels if k.kernel == "Conv"] == [
        ("Conv", 1, 1)
    ]
    assert made.plan.totals.integer_macs == made.plan.totals.macs > 0
    (note,) = [d for d in result.diagnostics if d.code == "no-float-model"]
    assert note.severity is Severity.NOTE and "unfused" in note.headline
    assert main(["evaluate", str(path), "--out", str(tmp_path / "build")]) == 0
    assert main(["compile", str(path), "--out", str(tmp_path / "again")]) == 0
    shown = capsys.readouterr().out
    assert "the file as it is" in shown and "1 of 1 Conv in integers (100 % of MACs)" in shown


@pytest.mark.parametrize("apart", [False, True])
def test_nodes_without_names_are_found(quantized: Quantized, apart: bool, tmp_path: Path) -> None:
    """Files of others may name no node; their weights may lie beside them."""
    proto = onnx.load(quantized(tmp_path))
    for node in proto.graph.node:
        node.name = ""
    model = tmp_path / "unnamed.onnx"
    more = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if apart else {}
    onnx.save_model(proto, str(model), **more)
    result = qdsl.compile(recipe(tmp_path, model), out=tmp_path / "build", lock=False)
    (made,) = result.targets
    assert made.emitted.model.read_bytes() == model.read_bytes()
    assert made.verification.mismatches == ()
    assert [(k.predicted, k.real) for k in made.verification.kernels if k.kernel == "Conv"] == [(1, 1)]


def test_a_float_file_may_be_measured_too(tmp_path: Path) -> None:
    coloured(tmp_path)
    onnx.save(mean_colour(), tmp_path / "plain.onnx")
    result = qdsl.compile(recipe(tmp_path, tmp_path / "plain.onnx"), out=tmp_path / "build", lock=False)
    assert result.targets[0].plan.totals.integer_macs == 0 and result.targets[0].verification.as_predicted
    (note,) = [d for d in result.diagnostics if d.code == "no-float-model"]
    assert note.headline.startswith("nothing in the file is quantized, and nothing will be: ")
    path = recipe(tmp_path, tmp_path / "plain.onnx", "evaluate classification on val { require top1 drop <= 1 pp }")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    (found,) = caught.value.diagnostics
    assert "makes nothing of it that could be compared" in found.headline and "quantize static" in found.help[1]


def test_external_data_comes_along(tmp_path: Path) -> None:
    coloured(tmp_path)
    model = tmp_path / "large.onnx"
    onnx.save_model(mean_colour(), str(model), save_as_external_data=True, location="large.bin", size_threshold=0)
    result = qdsl.compile(recipe(tmp_path, model, "evaluate classification on val"), out=tmp_path / "b", lock=False)
    made = result.targets[0].emitted
    assert [file.name for file in made.files] == ["model.onnx", "large.bin"]
    assert (made.directory / "large.bin").read_bytes() == (tmp_path / "large.bin").read_bytes()


def test_plan_reads_no_runtime_and_says_so(
    quantized: Quantized, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(recipe(tmp_path, quantized(tmp_path)))]) == 0
    shown = capsys.readouterr()
    assert "the file as it is" in shown.out and "what runs in integers, `compile` shows" in shown.out
    assert "note[no-float-model]" in shown.err


REFUSED: list[tuple[str, str, str, str]] = [
    ("evaluate classification on val { require top1 drop <= 1 pp }", "", "", "no-float-model"),
    ("", "", "require size ratio <= 0.5", "no-float-model"),
    ("", "", "require latency speedup >= 2", "no-float-model"),
    ("", "{ weights int8 }", "", "setting-unused"),
    ("", "{ calibrate minmax on val }", "", "setting-unused"),
    ("layers op Conv { weights int8 }", "", "", "setting-unused"),
    ("keep op Conv in float32", "", "", "setting-unused"),
    ("tune latency", "", "", "setting-unused"),
    ("improve { bias_correct }", "", "", "setting-unused"),
]


@pytest.mark.parametrize(("rest", "body", "target", "code"), REFUSED)
def test_what_would_change_or_compare_is_refused(
    quantized: Quantized, rest: str, body: str, target: str, code: str, tmp_path: Path
) -> None:
    path = recipe(tmp_path, quantized(tmp_path), rest, body, target)
    with pytest.raises(QdslError) as caught:
        qdsl.plan(path)
    (found,) = caught.value.diagnostics
    assert found.code == code and found.help and found.span is not None


def test_a_quantized_file_is_told_how_to_be_measured(quantized: Quantized, tmp_path: Path) -> None:
    path = recipe(tmp_path, quantized(tmp_path))
    path.write_text(path.read_text().replace("quantize none", "quantize float { weights float16 }"))
    with pytest.raises(QdslError, match="already-quantized") as caught:
        qdsl.plan(path)
    assert "to measure it as it is: `quantize none`" in caught.value.diagnostics[0].help


REAL = {
    "mlperf_vww_96_int8_qdq": (96, 26),
    "mlperf_pretrainedResnet_quant_qdq": (32, 3),
    "mobilenet_v2_1.0_224_quant_qdq": (224, 53),
}


def fused(model: Path, folder: Path) -> int:
    """The QLinearConv that ONNX Runtime makes of a file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return sum(node.op_type == "QLinearConv" for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_files_of_others(name: str, testdata: Path, tmp_path: Path) -> None:
    """One takes pictures in bytes, two arrays of int8; not every Conv between Q/DQ nodes runs in integers."""
    side, convs = REAL[name]
    model = testdata / "models" / f"{name}.onnx"
    shape, data = f"shape [1, {side}, {side}, 3]", 'npz "val.npz"'
    steps = f"resize {side} stretch; layout nhwc; {shape}"
    (taken,) = onnx.load(model).graph.input
    if taken.type.tensor_type.elem_type == onnx.TensorProto.INT8:
        drawn = np.random.default_rng(1).integers(-128, 128, (4, side, side, 3), dtype=np.int8)
        np.savez(tmp_path / "val.npz", **{taken.name: drawn})
        steps = shape
    else:
        data = f'images "{testdata}/images/coco_ccby/*.jpg" {{ take 4 }}'
    path = tmp_path / "asis.q"
    rest = "evaluate fidelity on val { measure sqnr }"
    path.write_text(RECIPE.format(model=model, steps=steps, data=data, body="", target="", rest=rest))
    result = qdsl.compile(path, out=tmp_path / "build", lock=False)
    (made,) = result.targets
    assert made.emitted.model.read_bytes() == model.read_bytes()
    assert [k.real for k in made.verification.kernels if k.kernel == "Conv"] == [convs] == [fused(model, tmp_path)]
    assert result.evaluations[0].samples == 4
