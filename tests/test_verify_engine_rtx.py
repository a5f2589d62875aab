"""`verify_engine.py` on the form of 11.x, filled with what the builder of TensorRT-RTX prints of real engines.

It prints what an inspector tells, one layer a line. No file of that is kept; where TensorRT-RTX is not installed all is
skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import rtx_engine
from compile_tools import HEAD, project
from engine_dumps import Plain, asked, examined, of_text, plan

import qdsl
from qdsl.engines.rtx import places, running
from qdsl.engines.rtx.layers import layers
from qdsl.engines.rtx.verdicts import MULTIPLYING, verdicts
from qdsl.targets.tensorrt.scripts.verify_engine import Manifest

DATA = Path(__file__).resolve().parent / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]


def compiled(folder: Path, proto: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """The artifact for 11.4."""
    head = HEAD.replace("uint8 affine", "int8 symmetric").replace("target ort", 'target tensorrt { version "11.4" }')
    recipe = project(folder, head=head, proto=proto)
    if proto is not None:
        value = proto.graph.input[0]
        shape = [each.dim_value for each in value.type.tensor_type.shape.dim]
        np.savez(
            folder / "calib.npz", **{value.name: np.random.default_rng(1).random((2, *shape[1:]), dtype=np.float32)}
        )
    return onnx.load(qdsl.compile(recipe, out=folder / "build", lock=False).directory / "tensorrt" / "model.onnx")


def text_of(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "engine.onnx"
    onnx.save(model, path)
    place = places.place()
    assert place is not None
    built = running.build(place, path, rtx_engine.CAPABILITY, "")
    assert built.stage == "built", built.failed
    return built.layers


def manifest(model: onnx.ModelProto) -> Manifest:
    """Every node that multiplies has to be int8."""
    return plan(*(asked(node.name, node.op_type) for node in model.graph.node if node.op_type in MULTIPLYING))


def told(found: Plain, wanted: Manifest) -> dict[str, str]:
    return {each.node: each.verdict for each in examined(found, wanted).verdicts}


def bypassed(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy in which the node reads its activation without the pair before it."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    writers = {output: node for node in made.graph.node for output in node.output}
    (node,) = [each for each in made.graph.node if each.name == name]
    node.input[0] = writers[writers[node.input[0]].input[0]].input[0]
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return compiled(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return compiled(tmp_path_factory.mktemp("detector"), onnx.load(DATA / "yolov8_tiny_torchscript.onnx"))


def models(small: onnx.ModelProto, detector: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto, int]]:
    yield "small", small, 5
    yield "detector", detector, 64


def test_every_planned_node_of_real_engines_is_int8(
    small: onnx.ModelProto, detector: onnx.ModelProto, tmp_path: Path
) -> None:
    for name, model, count in models(small, detector):
        text, wanted = text_of(model, tmp_path), manifest(model)
        plain = of_text(text)
        found = examined(plain, wanted)
        assert {each.verdict for each in found.verdicts} == {"INT8"} and len(found.verdicts) == count, name
        assert found.form == "11.x form" and found.passes
        assert not any("missing" in note for note in found.notes), "every tensor that is read is written"
        nodes = [(each.node, each.op) for each in wanted.nodes]
        assert told(plain, wanted) == {name: each.verdict for name, each in verdicts(nodes, layers(text)).items()}


def test_a_layer_that_is_missing_is_unknown(detector: onnx.ModelProto, tmp_path: Path) -> None:
    plain, wanted = of_text(text_of(detector, tmp_path)), manifest(detector)
    before = told(plain, wanted)
    for layer in (each for each in plain["Layers"] if each["LayerType"] == "correlation"):
        cut = {**plain, "Layers": [each for each in plain["Layers"] if each is not layer]}
        changed = {name for name, verdict in told(cut, wanted).items() if verdict != before[name]}
        assert {told(cut, wanted)[name] for name in changed} == {"UNKNOWN"}
        assert changed == {name for name in before if f"[ONNX Layer: {name}]" in layer["Metadata"]}


def test_a_node_whose_activation_is_not_quantized_is_dropped(small: onnx.ModelProto, tmp_path: Path) -> None:
    wanted = manifest(small)
    for node in (each.node for each in wanted.nodes):
        found = told(of_text(text_of(bypassed(small, node), tmp_path)), wanted)
        assert {name for name, verdict in found.items() if verdict != "INT8"} == {node}
        assert found[node] == "DROPPED"
