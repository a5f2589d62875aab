"""What `target tensorrt` foretells is what TensorRT-RTX builds, node for node, and a layer that loses the pair before
it is the one that is dropped. `tests/benchmarks/rtx.py` does the same of many more."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import rtx_engine
from rtx_reality import flips, otherwise, random_check

import qdsl
from qdsl.spec.engine import INT8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]
ROOT = Path(__file__).resolve().parent.parent
CRACKS = "resize 224 stretch; rescale 1/128; mean [1]"
DETECTS = "select decode = decode_head\nkeep decode in float32\n"
# Of each model of the examples: its file, its input, its data, and how many of its layers are planned in int8.
EXAMPLES = {
    "people": ("people/yolov8n.onnx", "resize 640 letterbox; rescale 1/255", 'yolo "{}/people/people.yaml"', 63),
    "steel": ("steel/steel.onnx", "resize 320 letterbox; rescale 1/255", 'yolo "{}/steel/steel.yaml"', 38),
    "cracks_v1": ("cracks/mobilenet_v1_025.onnx", CRACKS, 'folder "{}/cracks"', 28),
    "cracks_v2": ("cracks/mobilenet_v2_050.onnx", CRACKS, 'folder "{}/cracks"', 53),
}


def compiled(name: str, folder: Path) -> qdsl.CompileResult:
    """A model of the examples for TensorRT, calibrated on four pictures and checked."""
    model, given, data, _ = EXAMPLES[name]
    classes = 'classes ["clean", "crack"]; ' if name.startswith("cracks") else ""
    recipe = f"""recipe {name}
model onnx "{ROOT}/examples/{model}"
input "images" {{ {given} }}
data calib from {data.format(ROOT / "examples")} {{ split train; {classes}take 4 seed 1 }}
quantize static {{ calibrate minmax on calib }}
{"" if classes else DETECTS}target tensorrt {{ require qdq survives }}
"""
    (folder / f"{name}.q").write_text(recipe, encoding="utf-8")
    return qdsl.compile(folder / f"{name}.q", out=folder / "build", check="rtx", lock=False, measure=False)


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_random_nets_compute_as_planned(first: int, tmp_path: Path) -> None:
    integer = 0
    for seed in range(first, first + 5):
        check = random_check(seed, tmp_path / str(seed))
        assert not otherwise(check), seed
        integer += sum(each.verdict == INT8 for each in check.planned)
    assert integer > 5


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_of_an_example_computes_as_planned(name: str, tmp_path: Path) -> None:
    made = compiled(name, tmp_path)
    (check,) = made.engines
    assert check.as_predicted and len(check.planned) == EXAMPLES[name][-1]
    assert {each.verdict for each in check.planned} == {INT8}
    assert [each.verdict for each in made.targets[0].budgets] == ["holds"]


def test_a_layer_of_a_detector_that_loses_its_pair_is_dropped_and_no_other(tmp_path: Path) -> None:
    made = compiled("steel", tmp_path)
    planned = [each.node for each in made.engines[0].planned]
    model = onnx.load(made.targets[0].emitted.model)
    for name, lost, ended in flips(model, set(planned[::12])):
        assert (lost, ended) == ({name}, "")
