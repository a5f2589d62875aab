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
STEEL = """recipe steel
model onnx "{root}/examples/steel/steel.onnx"
input "images" {{ resize 320 letterbox; rescale 1/255 }}
data calib from yolo "{root}/examples/steel/steel.yaml" {{ split train; take 4 seed 1 }}
quantize static {{ calibrate minmax on calib }}
select decode = decode_head
keep decode in float32
target tensorrt
"""


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_random_nets_compute_as_planned(first: int, tmp_path: Path) -> None:
    integer = 0
    for seed in range(first, first + 5):
        check = random_check(seed, tmp_path / str(seed))
        assert not otherwise(check), seed
        integer += sum(each.verdict == INT8 for each in check.planned)
    assert integer > 5


def test_a_layer_of_a_detector_that_loses_its_pair_is_dropped_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "steel.q").write_text(STEEL.format(root=ROOT), encoding="utf-8")
    made = qdsl.compile(tmp_path / "steel.q", out=tmp_path / "build", check="rtx", lock=False, measure=False)
    (check,) = made.engines
    planned = [each.node for each in check.planned]
    assert check.as_predicted and len(planned) == 38
    model = onnx.load(made.targets[0].emitted.model)
    for name, lost, ended in flips(model, set(planned[::12])):
        assert (lost, ended) == ({name}, "")
