"""Prediction against reality on whole models: the detector of the example, and public models where they are at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from quantized import Measured
from test_predict_random import wide_ranges

from qdsl.diag import Diagnostics
from qdsl.graph import Model, load, to_bytes
from qdsl.lang import loads
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.pipeline import canonicalise
from qdsl.plan import make
from qdsl.spec.plan import Plan
from qdsl.targets.ort.reality import Reality, read

ROOT = Path(__file__).resolve().parent.parent
DETECTOR = ROOT / "examples" / "people" / "yolov8n.onnx"
RECIPE = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz" { take 4 }
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
target ort
"""
# Nodes that vanish because they do nothing, or that the runtime cancels against each other: nothing to predict.
NOTHING_LEFT = {
    "FastestDet.onnx": {"Transpose_261"},
    "kwt1_float.onnx": {"speech_features/normalizer/sub;speech_features/dct/MatMul;speech_features/normalizer/sub/y"},
}


def planned(path: Path, recipe: str) -> tuple[Model, Plan]:
    model = load(path)
    canonicalise(model)
    plan = make(
        loads(recipe, name="demo.q").recipe, model.view(), "ort", float_bytes=path.stat().st_size, diags=Diagnostics()
    )
    return model, plan


def really(model: Model, plan: Plan, *, counts: bool = False) -> Reality:
    ranges = wide_ranges(model.view(), 1)
    low, high = ({name: ends[side] for name, ends in ranges.items()} for side in (0, 1))
    InsertQDQ(plan, Measured(low, high)).apply(model)
    return read(to_bytes(model), counts=counts)


def difference(plan: Plan, real: Reality) -> dict[str, tuple[str, str]]:
    both = {node.node: (node.prediction.runs, real.nodes[node.node].runs) for node in plan.nodes}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


@pytest.mark.slow
def test_the_detector_with_its_decoding_in_float() -> None:
    model, plan = planned(DETECTOR, RECIPE + "keep decode_head in float32\n")
    real = really(model, plan, counts=True)
    assert difference(plan, real) == {}
    assert real.op_counts["QLinearConv"] == 63
    assert real.op_counts["QLinearSigmoid"] == real.op_counts["QLinearMul"] == 57
    runs = Counter((node.op, node.prediction.runs) for node in plan.nodes)
    assert runs["Conv", "integer"] == 63
    assert runs["Conv", "float"] == 1


@pytest.mark.slow
def test_the_detector_in_signed_integers_is_mostly_float() -> None:
    """An int8 tensor with several readers stays int8, and its Conv float: SiLU makes that nearly all of them."""
    model, plan = planned(DETECTOR, RECIPE.replace("activations 8 bit", "activations int8"))
    real = really(model, plan, counts=True)
    assert difference(plan, real) == {}
    assert real.op_counts["QLinearConv"] == 7


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "FastestDet.onnx",
        "kwt1_float.onnx",
        "mlperf_resnet8_float.onnx",
        "mlperf_vww_96_float.onnx",
        "mobilenet_v1_0.25_224_imagenet_float.onnx",
        "yolox_nano.onnx",
    ],
)
def test_public_models(testdata: Path, name: str) -> None:
    model, plan = planned(testdata / "models" / name, RECIPE)
    found = difference(plan, really(model, plan))
    assert set(found) == NOTHING_LEFT.get(name, set())
    assert all(real == "absorbed" for _, real in found.values())
