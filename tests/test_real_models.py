"""Recipes for models made by others: what comes out runs as the plan said and stays close to the float model."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compile_tools import ROOT, samples, session

import qdsl
from qdsl.diag import QdslError

RECIPE = """recipe {name}
model onnx "{model}"
{input}data calib from {data}
quantize static {{
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}}
{rules}target ort
"""

# model file -> input block, kind of data, shape of one npz sample, rules, least SQNR of the outputs in dB
FLOAT_MODELS: dict[str, tuple[str, str, tuple[int, ...], str, float]] = {
    "mobilenet_v1_0.25_224_imagenet_float": (
        "input {\n  resize 224 crop; mean [127.5]; std [127.5]\n}\n",
        *("images", (), "keep op Softmax in float32\n", 3.0),
    ),
    "FastestDet": (
        "input {\n  resize 352 stretch; rescale 1/255; color bgr\n}\n",
        *("images", (), "keep decode_head in float32\n", 10.0),
    ),
    "mlperf_vww_96_float": (
        "input {\n  resize 96 crop; rescale 1/255; shape [1, 3, 96, 96]\n}\n",
        *("images", (), "", 15.0),
    ),
    "mlperf_resnet8_float": ("input { shape [1, 32, 32, 3] }\n", "npz", (32, 32, 3), "", 15.0),
    "kwt1_float": ("", "npz", (16000,), 'keep "speech_features*", layer_norm in float32\n', 5.0),
}


def recipe_for(model: Path, folder: Path, name: str, images: Path) -> Path:
    """A small recipe beside generated or real data."""
    block, source, shape, rules, _ = FLOAT_MODELS[name]
    path = images / "*.jpg"
    if source == "npz":
        path = folder / "calib.npz"
        np.savez(path, x=np.random.default_rng(0).uniform(0, 1, (6, *shape)).astype(np.float32))
    data = f'{source} "{path}" {{ take 6 }}'
    recipe = folder / f"{name.replace('.', '_')}.q"
    text = RECIPE.format(name=recipe.stem, model=model, input=block, data=data, rules=rules)
    recipe.write_text(text, encoding="utf-8")
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_float_models_run_as_predicted(name: str, testdata: Path, tmp_path: Path) -> None:
    recipe = recipe_for(testdata / "models" / f"{name}.onnx", tmp_path, name, testdata / "images" / "coco_ccby")
    (made,) = qdsl.compile(recipe, out=tmp_path / "build", workers=2).targets
    found = made.verification
    assert found.mismatches == ()
    assert made.emitted.refused == ()
    assert abs(made.emitted.size - made.emitted.predicted_size) <= 0.05 * made.emitted.size
    heavy = {k.kernel: (k.predicted, k.real) for k in found.kernels if k.kernel in ("Conv", "Gemm", "MatMul")}
    assert heavy
    assert all(predicted == real > 0 for predicted, real in heavy.values())
    levels = [output.sqnr_db for output in found.outputs]
    assert all(level is not None and level > FLOAT_MODELS[name][-1] for level in levels), levels


@pytest.mark.slow
def test_yolox_keeps_boxes_and_scores(testdata: Path, tmp_path: Path) -> None:
    recipe = ROOT / "tests" / "recipes" / "yolox_nano.q"
    (made,) = qdsl.compile(recipe, out=tmp_path, workers=2, lock=False).targets
    assert made.verification.as_predicted
    levels = part_levels(testdata / "models" / "yolox_nano.onnx", made.emitted.model, recipe)
    assert levels["boxes"] > 20.0, levels
    assert levels["scores"] > 20.0, levels
    assert made.plan.totals.integer_nodes > 80


def part_levels(reference: Path, made: Path, recipe: Path) -> dict[str, float]:
    """SQNR in dB over all samples, columns 0..3 and the others apart."""
    floats, integers = session(reference), session(made)
    sums = {"boxes": [0.0, 0.0], "scores": [0.0, 0.0]}
    count = 0
    for arrays in samples(recipe):
        count += 1
        pair = [one.run(None, dict(arrays))[0].astype(np.float64) for one in (floats, integers)]
        for part, columns in (("boxes", np.s_[..., :4]), ("scores", np.s_[..., 4:])):
            wanted, got = (values[columns] for values in pair)
            sums[part][0] += float((wanted * wanted).sum())
            sums[part][1] += float(((wanted - got) ** 2).sum())
    assert count == 33
    return {part: 10 * log10(signal / noise) for part, (signal, noise) in sums.items()}


QUANTIZED: dict[str, tuple[str, str]] = {
    "mobilenet_v2_1.0_224_quant_qdq": ("[1, 224, 224, 3]", "already-quantized"),
    "mlperf_vww_96_int8_qdq": ("[1, 96, 96, 3]", "already-quantized"),
    "mlperf_pretrainedResnet_quant_qdq": ("[1, 32, 32, 3]", "already-quantized"),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_models_are_refused_in_words(name: str, testdata: Path, tmp_path: Path) -> None:
    shape, code = QUANTIZED[name]
    found = planned(testdata / "models" / f"{name}.onnx", tmp_path, f"input {{ shape {shape} }}\n")
    assert isinstance(found, QdslError)
    assert [d.code for d in found.diagnostics] == [code]
    assert all(d.span and d.help for d in found.diagnostics)


def test_a_model_with_if_and_lstm_gets_a_plan_or_words(testdata: Path, tmp_path: Path) -> None:
    plan_or_words(planned(testdata / "models" / "silero_vad_16k_op15.onnx", tmp_path, ""))


def test_weights_behind_dequantize_get_a_plan_or_words(testdata: Path, tmp_path: Path) -> None:
    plan_or_words(planned(testdata / "models" / "mlperf_kws_float.onnx", tmp_path, "input { shape [1, 49, 10, 1] }\n"))


def planned(model: Path, folder: Path, block: str) -> Any:
    """The plan, or the QdslError that refuses one."""
    recipe = folder / "tried.q"
    text = RECIPE.format(name="tried", model=model, input=block, data='npz "calib.npz"', rules="")
    recipe.write_text(text, encoding="utf-8")
    try:
        return qdsl.plan(recipe)
    except QdslError as refused:
        return refused


def plan_or_words(found: Any) -> None:
    if isinstance(found, QdslError):
        assert all(d.code and d.headline and d.span for d in found.diagnostics)
        return
    (plan,) = found.plans
    assert plan.totals.nodes == len(plan.nodes) > 0
    assert all(node.note or node.mark for node in plan.nodes)
