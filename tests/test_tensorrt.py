"""`target tensorrt`: where its pairs stand, what is written beside the model, and what is known of it here."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import cli, project, residual_net
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

import qdsl
from qdsl.spec.decode import decode
from qdsl.spec.engine import QuantManifest

HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static { calibrate minmax on calib }
"""
TARGET = HEAD + "target tensorrt\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tensorrt")
    return qdsl.compile(project(folder, head=TARGET), out=folder / "build", lock=False)


def emitted(made: Any) -> ModelProto:
    return onnx.load(made.targets[0].emitted.model)


def writers(proto: ModelProto) -> dict[str, NodeProto]:
    return {name: node for node in proto.graph.node for name in node.output}


def dequantized(proto: ModelProto) -> set[tuple[str, int]]:
    """Nodes and ports that read through a DequantizeLinear."""
    writer = writers(proto)
    ports = [(node, port, name) for node in proto.graph.node for port, name in enumerate(node.input)]
    return {(node.name, port) for node, port, name in ports if name in writer and _is(writer[name])}


def _is(node: NodeProto) -> bool:
    return node.op_type == "DequantizeLinear"


def test_pairs_stand_before_what_multiplies_and_before_the_skip(made: Any) -> None:
    layers = {(name, port) for name in ("stem", "inner", "left", "right", "gemm") for port in (0, 1)}
    assert dequantized(emitted(made)) == layers | {("add", 1)}


def test_explain_says_which_pair_stands_before_a_layer(made: Any, tmp_path: Path) -> None:
    (found,) = qdsl.explain(project(tmp_path, head=TARGET), "left")
    proto = emitted(made)
    (left,) = [node for node in proto.graph.node if node.name == "left"]
    writer = writers(proto)
    source = writer[writer[left.input[0]].input[0]].input[0]
    assert f"  reads        {source} as int8 symmetric per_tensor   tensorrt.toml, row conv\n" in found.text


def test_explain_says_which_line_took_a_pair_away(tmp_path: Path) -> None:
    head = f'{TARGET}place {{ leave inputs of "gemm" }}\n'
    (found,) = qdsl.explain(project(tmp_path, head=head), "gemm")
    (step,) = [each for each in found.steps if each.what == "place"]
    assert step.value.startswith("no Q/DQ on ") and (step.won, step.origin.line) == (True, 6)
    assert "reads" not in {each.what for each in found.steps}


def test_a_tensor_that_two_layers_read_has_one_pair(made: Any) -> None:
    read = {node.name: list(node.input) for node in emitted(made).graph.node}
    assert read["left"][0] == read["right"][0]
    assert read["add"][1] == read["inner"][0]


def test_all_is_symmetric_int8_with_what_defaults_differ_in_written(made: Any) -> None:
    proto = emitted(made)
    constants = {each.name: each for each in proto.graph.initializer}
    pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs and {node.domain for node in pairs} == {""}
    for node in pairs:
        scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        assert zero.dtype == np.int8 and not zero.any() and (scale > 0).all()
        assert bool(scale.ndim) == any(each.name == "axis" for each in node.attribute)
    biases = [constants[node.input[2]] for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    assert {each.data_type for each in biases} == {TensorProto.FLOAT}


def test_the_plan_says_what_runs_in_int8(made: Any) -> None:
    runs = {node.node: (node.prediction.runs, node.mark) for node in made.targets[0].plan.nodes}
    assert {name for name, (run, _) in runs.items() if run == "integer"} == {"stem", "inner", "left", "right", "gemm"}
    assert {mark for run, mark in runs.values() if run == "float"} == {"="}


def test_the_manifest_says_what_to_hold_an_engine_against(made: Any) -> None:
    folder = made.targets[0].emitted.directory
    text = (folder / "quant_manifest.json").read_text(encoding="utf-8")
    found = decode(QuantManifest, json.loads(text))
    assert found.sha256 == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert [(node.node, node.expect) for node in found.nodes] == [
        *((name, "int8") for name in ("stem", "inner", "left", "right", "gemm"))
    ]
    assert found.boundary == ("x_QuantizeLinear",)
    stem = found.nodes[0]
    assert [(pair.port, pair.quantize != "", len(pair.scale)) for pair in stem.pairs] == [(0, True, 1), (1, False, 4)]


def test_what_an_engine_computes_in_is_not_known_here(made: Any) -> None:
    (target,) = made.targets
    assert not target.verification.kernels_read and not target.verification.as_predicted
    assert "--check rtx" in target.verification.unseen
    assert target.verification.outputs[0].sqnr_db > 20


def test_rules_of_a_recipe_change_edges(tmp_path: Path) -> None:
    rules = 'place { leave skip of residual_add; quantize inputs of "pool" }\nkeep "left" in float32\n'
    result = qdsl.compile(project(tmp_path, rules, head=TARGET), out=tmp_path / "build", lock=False)
    found = dequantized(emitted(result))
    assert ("add", 1) not in found and ("pool", 0) in found and ("left", 0) not in found and ("right", 0) in found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("layers all { activations uint8 }", "uint8"),
        ("layers all { weights int4 }", "int4"),
        ("layers all { activations int8 affine }", "symmetric"),
    ],
)
def test_what_tensorrt_does_not_take_is_refused_at_its_line(rule: str, why: str, tmp_path: Path) -> None:
    shown = cli("plan", project(tmp_path, f"{rule}\n", head=TARGET))
    assert shown.returncode == 1 and "error[target-cannot]" in shown.stderr and why in shown.stderr
    assert rule in shown.stderr


def test_shapes_without_a_fast_kernel_are_told(tmp_path: Path) -> None:
    (plan,) = qdsl.plan(project(tmp_path, head=TARGET)).plans
    told = [(flag.code, flag.nodes) for flag in plan.flags]
    assert told == [("slow-kernel", ("stem", "inner", "left", "right")), ("slow-kernel", ("gemm",))]


def test_what_builds_an_engine_stands_beside_the_model(made: Any) -> None:
    folder = made.targets[0].emitted.directory
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    scripts = {"build_engine.py", "profile_engine.py", "verify_engine.py", "commands.sh", "README.md"}
    assert names >= {"model.onnx", "manifest.json", "quant_manifest.json", *scripts}
    assert names >= {"inputs.npz", "inputs.json", "golden.npz", "golden.json"}
    assert not any(name.startswith(("dla/", "implicit/")) for name in names)  # the newest version takes no cache
    assert made.targets[0].emitted.size == (folder / "model.onnx").stat().st_size


def test_a_version_that_takes_a_calibration_cache_gets_one(tmp_path: Path) -> None:
    rules = 'target tensorrt { version "10.3"; device "jetson-agx-orin" }\n'
    result = qdsl.compile(project(tmp_path, rules, head=HEAD), out=tmp_path / "build", lock=False)
    folder = result.targets[0].emitted.directory
    first, *lines = (folder / "dla" / "calib.cache").read_text(encoding="utf-8").splitlines()
    assert first == "TRT-100300-EntropyCalibration2"
    assert {line.rpartition(": ")[0] for line in lines} == {"x", "r", "t", "f"}
    assert not {node.op_type for node in onnx.load(folder / "dla" / "model.onnx").graph.node} & {"QuantizeLinear"}


def test_what_an_earlier_version_had_beside_it_goes(tmp_path: Path) -> None:
    folder = tmp_path / "build/demo/tensorrt"
    for version, cached in (("10.3", True), ("11.4", False)):
        rules = f'target tensorrt {{ version "{version}"; device "jetson-agx-orin" }}\n'
        qdsl.compile(project(tmp_path, rules, head=HEAD), out=tmp_path / "build", lock=False)
        assert (folder / "dla").exists() == cached and (folder / "golden.npz").exists()


def test_the_same_recipe_gives_the_same_directory(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=TARGET)
    found = []
    for number, workers in enumerate((1, 3)):
        qdsl.compile(recipe, out=tmp_path / str(number), workers=workers, lock=False)
        found.append({path.name: path.read_bytes() for path in (tmp_path / str(number) / "demo/tensorrt").iterdir()})
    assert found[0] == found[1]


HOSTILE = "a:b $(touch x) \n'\"`; é"


def test_names_that_no_shell_and_no_cache_holds(tmp_path: Path) -> None:
    """The input and another tensor: what lies beside the model is a script still, and the cache says what it lacks."""
    proto = residual_net()
    for side in (proto.graph.input, *(each for node in proto.graph.node for each in (node.input, node.output))):
        for at, each in enumerate(side):
            name = each if isinstance(each, str) else each.name
            if name in ("x", "r") and isinstance(each, str):
                side[at] = HOSTILE + name
            elif name == "x":
                each.name = HOSTILE + name
    rules = 'target tensorrt { version "10.3" }\n'
    result = qdsl.compile(project(tmp_path, rules, head=HEAD, proto=proto), out=tmp_path / "build", lock=False)
    folder = result.targets[0].emitted.directory
    environment = {**os.environ, "TRTEXEC": "echo", "PYTHON": "echo"}
    steps = ["sh", "commands.sh", "build", "profile", "verify", "build_by_python", "forced", "implicit"]
    subprocess.run(steps, cwd=folder, env=environment, capture_output=True, check=True)
    assert not (folder / "x").exists()
    _, *lines = (folder / "implicit" / "calib.cache").read_text(encoding="utf-8").splitlines()
    assert {line.rpartition(": ")[0] for line in lines} == {"t", "f"}
    assert "lacks the scale of 2 tensors" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_figures_say_that_no_engine_answered(tmp_path: Path) -> None:
    rules = "evaluate fidelity on calib { measure sqnr; require sqnr >= 10 dB }\n"
    shown = cli("compile", project(tmp_path, rules, head=TARGET), "--out", tmp_path / "build", "--no-lock")
    assert shown.returncode == 0, shown.stderr
    assert "tensorrt: its graph in ONNX Runtime, no engine" in shown.stdout
    assert "(its graph in ONNX Runtime, no engine, 6 samples of calib)" in shown.stdout
    page = (tmp_path / "build" / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Answered for tensorrt: its graph in ONNX Runtime, no engine" in page


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["static { calibrate minmax on calib }", "none"])
def test_operators_of_onnxruntime_alone_are_refused_before_anything_is_made(mode: str, tmp_path: Path) -> None:
    """TensorRT's parser finds no plugin of that name."""
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
  [fused] y = com.microsoft.FusedConv <kernel_shape = [1, 1], activation = "Relu"> (x, w)
}""")
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w"))
    head = TARGET.replace("static { calibrate minmax on calib }", mode)
    shown = cli("plan", project(tmp_path, head=head, proto=proto))
    assert shown.returncode == 1 and "error[target-cannot]" in shown.stderr
    assert "`com.microsoft.FusedConv`" in shown.stderr and "target tensorrt" in shown.stderr
