"""The bundle beside an artifact: copied elsewhere it measures without qdsl, finds what was found here, and notices
files that are not its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import project
from test_evaluate import LABELS, boxes_model, coloured, masked, mean_colour, segmenter, write, yolo_data

import qdsl
from qdsl import data
from qdsl.data import ModelInput
from qdsl.data.storing import unfinished
from qdsl.harness import FLOAT, Key
from qdsl.harness.check import RefusedError, agreement, operators, prepared
from qdsl.lang import loads


def bundle_of(path: Path) -> tuple[Path, qdsl.api.CompileResult]:
    result = qdsl.compile(path, out=path.parent / "build", lock=False)
    return result.targets[0].emitted.directory / "bench", result


def run(folder: Path, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """Run a bundle in a process that has numpy and onnxruntime and no qdsl; what it wrote, and what it said."""
    blocked = folder.parent / "blocked"
    (blocked / "qdsl").mkdir(parents=True, exist_ok=True)
    (blocked / "qdsl" / "__init__.py").write_text("raise ImportError('qdsl is not here')\n")
    environment = dict(os.environ, PYTHONPATH=str(blocked))
    out = folder / "measurements.json"
    done = subprocess.run(
        [sys.executable, str(folder / "bench.py"), "--runs", "4", "--warmup", "1", "--out", str(out), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=folder.parent,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return (json.loads(out.read_text()) if out.exists() else {}), done.stdout + done.stderr


def moved(folder: Path, to: Path) -> Path:
    """The target's folder, copied to another place, and the original gone."""
    shutil.copytree(folder.parent, to)
    shutil.rmtree(folder.parent)
    return to / "bench"


@pytest.mark.slow
def test_a_copied_bundle_finds_what_was_found_here(tmp_path: Path) -> None:
    coloured(tmp_path)
    weights = np.eye(3)[::-1].copy()
    path = write(
        tmp_path, mean_colour(weights), "classification on val", 'folder "photos"', "resize 8 stretch; mean [9]"
    )
    folder, result = bundle_of(path)
    found, told = run(moved(folder, tmp_path / "elsewhere"))
    for build in (FLOAT, "ort"):
        scores = result.evaluations[0].of(build).scores
        assert found["scores"][build]["top1"] == pytest.approx(scores[Key("top1")])
        assert found["scores"][build]["f1"] == pytest.approx(scores[Key("f1")])
        assert len(found["profile"]["builds"][build]["seconds"]) == 4
        (golden,) = found["goldens"][build].values()
        assert golden["sqnr_db"] is None or golden["sqnr_db"] > 60
    assert found["samples"] == 24 and found["environment"]["onnxruntime"] == ort.__version__
    assert found["files"]["../model.onnx"] == result.targets[0].emitted.files[0].sha256
    assert "p50" in told and "written:" in told


@pytest.mark.slow
def test_a_device_is_held_against_the_arithmetic_of_the_graph(tmp_path: Path) -> None:
    """What the goldens say is what the file says, whatever the kernels of the machine that compiled make of it."""
    folder, result = bundle_of(project(tmp_path, "evaluate fidelity on calib\n"))
    emitted = result.targets[0].emitted
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    written = ort.InferenceSession(str(emitted.model), options, providers=["CPUExecutionProvider"])
    with np.load(folder / "samples.npz") as stored, np.load(folder / "golden_ort.npz") as golden:
        wanted = [written.run(None, {"x": sample})[0] for sample in stored["x"]]
        np.testing.assert_array_equal(golden["y"], np.stack(wanted))
    found, told = run(folder)
    assert found["arithmetic"]["samples"] == 6 and found["arithmetic"]["outputs"].keys() == {"y"}
    here = found["arithmetic"]["outputs"]["y"]["sqnr_db"]
    assert here is None or here > 0
    assert found["arithmetic"]["outputs"] == found["goldens"]["ort"], "both arithmetics are the graph's"
    kept = found["fidelity"]["y"]
    assert kept["planned_db"] > 15 and (here is not None or kept["here_db"] == kept["planned_db"])
    assert "to the same file without optimizations, here" in told and "to the graph's arithmetic" in told
    assert found["emulated"] is False and "emulator" not in found["environment"]


@pytest.mark.parametrize("script", [["bench.py", "--check"], ["check.py"], ["check.py", "--json", "--samples", "2"]])
def test_a_bundle_is_checked_without_a_clock(script: list[str], tmp_path: Path) -> None:
    folder, _ = bundle_of(project(tmp_path, "evaluate fidelity on calib\n"))
    environment = dict(os.environ, QDSL_EMULATED="cortex-a76, qemu 7.2")
    command = [sys.executable, str(folder / script[0]), *script[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "ms" not in done.stdout.split() and not (tmp_path / "measurements.json").exists()
    if "--json" in script:
        found = json.loads(done.stdout)
        assert found["samples"] == 2 and found["emulated"] and "float" not in found["goldens"]
        assert found["environment"]["emulator"] == "cortex-a76, qemu 7.2"
    else:
        assert "emulated (cortex-a76, qemu 7.2)" in done.stdout and "predicted" in done.stdout


@pytest.mark.slow
def test_what_cannot_run_without_optimizations_is_told(tmp_path: Path) -> None:
    folder, _ = bundle_of(project(tmp_path, "evaluate fidelity on calib\n"))
    worker = folder / "worker.py"
    text = worker.read_text(encoding="utf-8")
    refusing = "    if as_written:\n        raise OSError('no')"
    worker.write_text(text.replace("    if as_written:", refusing), encoding="utf-8")
    said = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    said["files"]["worker.py"] = hashlib.sha256(worker.read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(said), encoding="utf-8")
    found, told = run(folder)
    assert found["arithmetic"] is None and found["profile"]["builds"] and "not compared: " in told


@pytest.mark.parametrize(
    ("found", "wanted", "decibels", "error"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], None, 0.0),
        ([[np.inf, np.nan, 1.0]], [[np.inf, np.nan, 1.0]], None, 0.0),
        ([[1.0, 2.2]], [[1.0, 2.0]], 10 * np.log10(5 / 0.04), 0.2),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0]], np.nan, np.nan),
        ([[5.0]], [[0.0]], -np.inf, 5.0),
        ([[np.nan]], [[1.0]], np.nan, np.nan),
        ([], [], None, 0.0),
    ],
)
def test_agreement(found: Any, wanted: Any, decibels: float | None, error: float) -> None:
    told = agreement([np.array(row) for row in found], [np.array(row) for row in wanted])
    assert told["sqnr_db"] == (decibels if decibels is None else pytest.approx(decibels, nan_ok=True))
    assert told["max_error"] == pytest.approx(error, nan_ok=True)


@pytest.mark.slow
def test_fused_kernels_are_counted_there(tmp_path: Path) -> None:
    folder, result = bundle_of(project(tmp_path, "evaluate fidelity on calib\n"))
    found, _ = run(folder)
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    predicted = {k: n for k, n in manifest["predicted"]["integer_kernels"].items() if k.startswith("QL")}
    assert predicted and predicted.items() <= {k: n for k, (n, _) in found["kernels"].items()}.items()
    assert all(real == count for count, real in found["kernels"].values()), found["kernels"]
    assert found["scores"] is None and result.targets[0].verification.as_predicted


@pytest.mark.slow
def test_detection_is_scored_there_as_here(tmp_path: Path) -> None:
    rows = np.zeros((1, 6, 9))
    rows[0, :4, 0], rows[0, 4:, 0] = (2, 4, 4, 4), (0.9, 0.1)
    rows[0, :4, 1], rows[0, 4:, 1] = (6, 4, 4, 3), (0.6, 0.0)
    path = write(tmp_path, boxes_model(rows), "detection on val", yolo_data(tmp_path, LABELS), "resize 8 letterbox")
    folder, result = bundle_of(path)
    found, _ = run(folder)
    for name in ("map50", "map50_95", "precision", "recall"):
        assert found["scores"]["ort"][name] == pytest.approx(
            result.evaluations[0].of("ort").scores[Key(name)], abs=1e-6
        )


@pytest.mark.slow
def test_segmentation_is_scored_there_as_here(tmp_path: Path) -> None:
    path = write(tmp_path, segmenter(), "segmentation on val", masked(tmp_path, 5))
    folder, result = bundle_of(path)
    found, _ = run(folder)
    for name in ("miou", "accuracy"):
        assert found["scores"]["ort"][name] == pytest.approx(result.evaluations[0].of("ort").scores[Key(name)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../model.onnx", "float.onnx", "samples.npz", "bundle.json", "scoring.py"])
def test_a_file_of_another_bundle_is_noticed(name: str, tmp_path: Path) -> None:
    coloured(tmp_path, count=1)
    folder, _ = bundle_of(write(tmp_path, mean_colour(), "classification on val", 'folder "photos"'))
    path = folder / name
    path.write_bytes(path.read_bytes()[:-3])
    found, told = run(folder, code=1)
    assert not found and told.startswith("bench.py: ") and (name in told or "bundle" in told)


@pytest.mark.slow
@pytest.mark.parametrize("dims", ["3, 4", "3, N", "", "N"])
def test_samples_are_fed_whole_whatever_their_shape(dims: str, tmp_path: Path) -> None:
    """A first dimension that is no batch, a free one, none at all."""
    takes = f"float[{dims}]" if dims else "float"
    body = (
        f"net ({takes} x, float[1, 4] m) => ({takes} y, float[1, 4] z) {{ y = Relu (x) [product] z = MatMul (m, w) }}"
    )
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {body}')
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float { weights int8 per_channel }\ntarget ort\n\n'
    path = project(tmp_path, "", head=head, proto=proto)
    folder, _ = bundle_of(path)
    if dims == "3, N":  # nothing says how long a drawn input is to be
        assert not folder.exists()
        return
    found, _ = run(folder)
    assert found["goldens"]["ort"]["y"]["max_error"] < 1e-2 > found["goldens"]["ort"]["z"]["max_error"]
    assert len(found["profile"]["builds"]["ort"]["seconds"]) == 4


@pytest.mark.slow
def test_the_same_build_gives_the_same_bundle(tmp_path: Path) -> None:
    coloured(tmp_path, count=2)
    path = write(tmp_path, mean_colour(), "classification on val", 'folder "photos"')
    folder, _ = bundle_of(path)
    before = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    folder, _ = bundle_of(path)
    assert before == {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("steps", "packed"),
    [
        ("resize 8 letterbox; rescale 1/255", True),
        ("resize [6, 8] crop; color bgr; mean [1, 2, 3]; std [2]; rescale 1/7", True),
        ("crop 6; rescale 1/3; layout nhwc", True),
        ("rescale 1/255; resize 8 letterbox", False),
    ],
)
def test_stored_samples_are_finished_to_the_bit(steps: str, packed: bool, tmp_path: Path) -> None:
    coloured(tmp_path, count=2)
    text = f'recipe a\ninput {{ {steps} }}\ndata val from folder "{tmp_path}/photos"\n'
    recipe = loads(text, name="a.q").recipe
    takes = {"images": ModelInput("float32", None)}
    whole = data.open(recipe.dataset("val"), recipe.inputs, takes)
    early = unfinished(whole, takes)
    for at in range(len(whole)):
        stored = early.dataset.sample(at).arrays["images"]
        assert (stored.dtype == np.uint8) is packed
        made = prepared(stored, list(early.steps["images"]), early.types["images"])
        np.testing.assert_array_equal(made, whole.sample(at).arrays["images"], strict=True)


def test_operators_are_counted_without_onnx(tmp_path: Path) -> None:
    qdsl_model = onnx.load(project(tmp_path, "").parent / "demo.onnx")
    counts: dict[str, int] = {}
    for node in qdsl_model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    content = qdsl_model.SerializeToString()
    assert operators(content) == counts
    with pytest.raises(RefusedError):
        operators(content[: len(content) // 2])


def test_goldens_of_a_dynamic_build_are_exact_on_every_processor(tmp_path: Path) -> None:
    """Its integer operators are kernels even without optimizations: int8 by uint8 saturates where VNNI is missing."""
    head = 'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "calib.npz"\nquantize dynamic { weights 8 bit }\n'
    head += "layers all { weights 8 bit }\ntarget ort { cpu x86_vnni }\n\n"
    body = "net (float[1, 16, 12, 12] x) => (float[1, 16, 10, 10] y) { [conv] y = Conv (x, w) }"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {body}')
    weights = np.abs(np.random.default_rng(0).standard_normal((16, 16, 3, 3))).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    folder, result = bundle_of(project(tmp_path, "evaluate fidelity on calib\n", head=head, proto=proto))
    written = onnx.load(result.targets[0].emitted.model)
    assert "ConvInteger" in {node.op_type for node in written.graph.node}
    with np.load(folder / "golden_float.npz") as floats, np.load(folder / "golden_ort.npz") as golden:
        found = agreement(list(golden["y"]), list(floats["y"]))["sqnr_db"]
    assert found is not None and found > 35, "eight bits of each factor, and nothing lost beside"
