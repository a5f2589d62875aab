"""What `qdsl compile` leaves beside a TensorRT model: for the version and the device of the recipe, of its samples."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, residual_net

import qdsl
from qdsl.calibrate.cache_file import read_cache
from qdsl.diag import QdslError
from qdsl.targets.as_written import AsWritten

RECIPE = HEAD.replace("uint8 affine per_tensor", "int8 symmetric per_tensor").replace("target ort", "target tensorrt")


def emitted(folder: Path, settings: str = "", proto: onnx.ModelProto | None = None) -> Path:
    """The folder that a recipe with these settings leaves."""
    recipe = project(
        folder / "demo", head=RECIPE.replace("target tensorrt", f"target tensorrt {{ {settings} }}"), proto=proto
    )
    (found,) = qdsl.compile(recipe, out=folder / "build").targets
    return found.emitted.directory


@pytest.fixture(scope="module")
def orin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("orin"), 'version "10.3"; device "jetson-agx-orin"')


def test_what_builds_times_and_verifies_stands_beside_the_model(orin: Path) -> None:
    scripts = {"build_engine.py", "profile_engine.py", "verify_engine.py", "commands.sh", "README.md"}
    golden = {"inputs.npz", "inputs.json", "golden.npz", "golden.json"}
    assert {path.name for path in orin.iterdir()} >= {"model.onnx", "quant_manifest.json", "dla", *scripts, *golden}
    text = (orin / "commands.sh").read_text(encoding="utf-8")
    assert (
        "/usr/src/tensorrt/bin/trtexec" in text and "--int8 --fp16" in text and os.access(orin / "commands.sh", os.X_OK)
    )
    subprocess.run(["sh", "-n", str(orin / "commands.sh")], check=True, timeout=60)
    assert "Jetson AGX Orin" in (orin / "README.md").read_text(encoding="utf-8")


def test_golden_outputs_are_those_of_the_emitted_graph_on_the_recipes_samples(orin: Path) -> None:
    runner = AsWritten(orin / "model.onnx")
    with np.load(orin / "inputs.npz") as inputs, np.load(orin / "golden.npz") as golden:
        assert set(inputs) == {f"{at}:x" for at in range(2)} and set(golden) == {f"{at}:y" for at in range(2)}
        for at in range(2):
            np.testing.assert_array_equal(runner.run({"x": inputs[f"{at}:x"]})["y"], golden[f"{at}:y"], strict=True)
    with np.load(orin.parents[2] / "demo" / "calib.npz") as data, np.load(orin / "inputs.npz") as inputs:
        np.testing.assert_array_equal(inputs["1:x"], data["x"][1:2])


def test_the_cache_holds_the_scales_of_the_pairs_by_tensors_of_the_float_model(orin: Path) -> None:
    cache = read_cache(orin / "dla" / "calib.cache", "calib.cache")
    assert cache.release == "10.3.0"
    proto = onnx.load(orin / "model.onnx")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    pairs = {n.input[0]: constants[n.input[1]] for n in proto.graph.node if n.op_type == "QuantizeLinear"}
    assert len(cache.scales) >= 3 and "x" in cache.scales
    for name, scale in cache.scales.items():
        assert np.float32(scale) == pairs[name]
    floats = onnx.load(orin / "dla" / "model.onnx")
    written = {each.name for each in floats.graph.input} | {name for node in floats.graph.node for name in node.output}
    assert set(cache.scales) <= written and not any(node.op_type == "QuantizeLinear" for node in floats.graph.node)


def test_without_a_version_it_is_the_newest_and_no_cache_stands_there(tmp_path: Path) -> None:
    folder = emitted(tmp_path)
    text = (folder / "commands.sh").read_text(encoding="utf-8")
    assert "TensorRT 11.4" in text and "--int8" not in text and not (folder / "dla").exists()


def test_open_dimensions_are_built_for_a_range_around_the_samples(tmp_path: Path) -> None:
    proto = residual_net()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    text = (emitted(tmp_path, 'version "10.3"', proto) / "commands.sh").read_text(encoding="utf-8")
    assert "--minShapes=x:1x3x8x8" in text and "--optShapes=x:1x3x8x8" in text and "--maxShapes=x:8x3x8x8" in text


def test_the_same_recipe_leaves_the_same_bytes(orin: Path, tmp_path: Path) -> None:
    again = emitted(tmp_path, 'version "10.3"; device "jetson-agx-orin"')
    for path in sorted(orin.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            assert path.read_bytes() == (again / path.relative_to(orin)).read_bytes(), path.name


def test_a_version_that_the_device_never_gets_is_an_error_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        emitted(tmp_path, 'version "11.0"; device "jetson-orin-nano"')
    assert "tensorrt-device-version" in {found.code for found in caught.value.diagnostics}
