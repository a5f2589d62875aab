"""float16 and int8 in one graph, as TensorRT-RTX takes them: every planned layer in int8, the rest in Half, and what is
kept in float32 in Float. `python tests/rtx_engine.py install` makes its environment, under NVIDIA's licence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rtx_engine
from compile_tools import project
from tensorrt_plans import MULTIPLY, written
from test_tensorrt_float16 import mixed
from test_tensorrt_int4 import products

import qdsl
from qdsl.engines.rtx import places, running
from qdsl.engines.rtx.examining import examine
from qdsl.engines.rtx.layers import Layer, layers
from qdsl.engines.rtx.verdicts import verdicts
from qdsl.spec.engine import BUILT, DROPPED, FP8, INT8, WEIGHT_ONLY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: tests/rtx_engine.py install"),
]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HALF = "target tensorrt { high_precision float16 }\n"
HEAD = """recipe demo
model onnx "MODEL"
data calib from npz "calib.npz"
quantize static { calibrate minmax on calib }
"""
# Convs and Gemms in int8, of each example.
MODELS = {
    "people/yolov8n.onnx": 64,
    "steel/steel.onnx": 38,
    "cracks/mobilenet_v1_025.onnx": 28,
    "cracks/mobilenet_v2_050.onnx": 53,
}


class Seen:
    """What became of an artifact: what the manifest expects of each node that multiplies, and the engine's layers."""

    def __init__(self, target: Any) -> None:
        proto = onnx.load(target.emitted.model)
        nodes = json.loads((target.emitted.directory / "quant_manifest.json").read_text(encoding="utf-8"))["nodes"]
        self.expected = {node["node"]: node["expect"] for node in nodes}
        built = running.build(places.require(), target.emitted.model, "sm86", str(target.emitted.model))
        assert (built.stage, built.warnings) == ("built", ())
        self.layers = layers(built.layers)
        held = [(node.name, node.op_type) for node in proto.graph.node if node.name in self.expected]
        self.verdicts = {name: found.verdict for name, found in verdicts(held, self.layers).items()}

    def differ(self) -> dict[str, tuple[str, str]]:
        """Nodes of which the engine makes something else than was planned."""
        wanted = {"int8": INT8, "float16": DROPPED, "float32": DROPPED}
        return {
            name: (kind, self.verdicts[name])
            for name, kind in self.expected.items()
            if self.verdicts[name] != wanted[kind]
        }

    def around(self, node: str) -> set[str]:
        """The types of all that the layers which name a node read and write."""
        return {kind for layer in self.layers if node in layer.nodes for kind in _types(layer)}


def _types(layer: Layer) -> tuple[str, ...]:
    return (*layer.inputs, *layer.constants, *layer.outputs)


def compiled(folder: Path, model: str, rules: str) -> Any:
    """An example's model, on noise: what it answers does not matter here."""
    proto = onnx.load(EXAMPLES / model)
    head = HEAD.replace("MODEL", str(EXAMPLES / model))
    recipe = project(folder, rules, head=head, proto=proto)
    given = proto.graph.input[0]
    shape = [dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim]
    np.savez(folder / "calib.npz", **{given.name: np.random.default_rng(0).random((2, *shape[1:]), np.float32)})
    return qdsl.compile(recipe, out=folder / "build", lock=False).targets[0]


@pytest.mark.parametrize("model", MODELS)
def test_every_planned_layer_is_int8_and_the_rest_half(model: str, tmp_path: Path) -> None:
    target = compiled(tmp_path, model, HALF)
    seen = Seen(target)
    assert Counter(seen.expected.values())["int8"] == MODELS[model]
    assert seen.differ() == {}
    halves = {half.node for half in target.plan.halves} - seen.expected.keys()
    told = {node for node in halves if seen.around(node)}
    floats = {node for node in told if "Half" not in seen.around(node)}
    assert len(told) > 10 and len(floats) < 0.1 * len(told), "but for what is next to an output in float32"


MIXED = """keep op Resize in float16
select tail = decode_head
keep tail in float32
keep first 3 of op Conv in float16
"""


@pytest.mark.parametrize("target", [HALF, "target tensorrt\n"], ids=["float16", "float32"])
def test_layers_of_three_types_are_what_the_plan_says(target: str, tmp_path: Path) -> None:
    seen = Seen(compiled(tmp_path, "people/yolov8n.onnx", target + MIXED))
    assert Counter(seen.expected.values()) == {"int8": 60, "float16": 3, "float32": 1}
    assert seen.differ() == {}
    for name, kind in seen.expected.items():
        if kind != "int8":
            assert ("Half" in seen.around(name)) is (kind == "float16"), name


def test_two_layers_of_two_types_read_one_pair(tmp_path: Path) -> None:
    rules = HALF + 'layers "right" { activations float32 }\n'
    recipe = project(tmp_path, rules, head=HEAD.replace("MODEL", "demo.onnx"))
    seen = Seen(qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets[0])
    assert set(seen.expected.values()) == {"int8"} and seen.differ() == {}


def test_float8_stands_beside_float16_as_int8_does(tmp_path: Path) -> None:
    head = HEAD.replace("MODEL", "demo.onnx").replace("static {", "static { weights float8; activations float8;")
    recipe = project(tmp_path, 'target tensorrt { device "l4"; high_precision float16 }\n', head=head)
    target = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets[0]
    seen = examine(onnx.load(target.emitted.model), capability="sm89").seen
    assert {verdict.verdict for verdict in seen.verdicts.values()} == {FP8} and len(seen.verdicts) == 5


def test_int4_weights_meet_float16(tmp_path: Path) -> None:
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float { weights int4 per_block 32 }\n' + HALF
    recipe = project(tmp_path, head=head, proto=products((128, 64), (64, 32)))
    target = qdsl.compile(recipe, out=tmp_path / "build", lock=False, measure=False).targets[0]
    seen = Seen(target)
    assert set(seen.verdicts.values()) == {WEIGHT_ONLY} and len(seen.verdicts) == 2
    assert all({"Half", "Int4"} <= seen.around(name) for name in seen.verdicts)


@pytest.mark.parametrize("first", range(0, 24, 8))
def test_random_graphs_are_built_as_they_are_planned(first: int, tmp_path: Path) -> None:
    integers = 0
    for seed in range(first, first + 8):
        made = written(mixed(seed, tmp_path / str(seed)), tmp_path / str(seed) / "build")
        seen = examine(made.proto).seen
        assert seen.stage == BUILT, (seed, seen.reason, seen.refused)
        planned = {node.node: node.in_integers for node in made.plan.nodes if node.op in MULTIPLY}
        found = {name: verdict.verdict == INT8 for name, verdict in seen.verdicts.items() if name in planned}
        assert found == planned, seed
        integers += sum(found.values())
    assert integers > 20
