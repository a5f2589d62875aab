"""Real models in 8 bits: a detector's mAP50-95, and how far two classifiers keep their float answers.

All are calibrated on the labelled COCO pictures of ../shared/testdata. YOLOX-nano is scored on them; classifiers are
compared on them (signal-to-noise ratio of the output in dB, how often the best class is the same) and, `far`, on 120
close-ups of concrete, which look like nothing they know. Beside both granularities of weights stand the recipe of
tests/recipes and `quantize_static` with uint8 activations and int8 weights per channel. Bounds:
mAP50-95 at most 0.01 below float, agreement at least 90 %, for the recipe.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Row, finish, machine
from detection import evaluate, inputs_of, opened, session

import qdsl

TESTDATA = ROOT.parent / "shared" / "testdata"
LOSS, AGREEMENT = 0.01, 0.9
OURS, CHOSEN, BY_ORT = ("per channel", "per tensor"), "recipe of tests/recipes", "quantize_static, per channel"

RECIPE = """recipe {name}
model onnx "{model}"
input {{
  {block}
}}
data calib from {calib}
data val from {calib}
data far from images "{far}"
quantize static {{
  weights     int8 symmetric {granularity}
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}}
{rules}
target ort
"""


@dataclass(frozen=True, slots=True)
class RealModel:
    """A float model: its `input` block, the rules of its recipe, its recipe in tests/recipes, whether it detects."""

    file: str
    block: str
    rules: str
    recipe: str
    detects: bool = False


MODELS = {
    "yolox_nano": RealModel(
        "yolox_nano", "resize 416 letterbox top_left; color bgr", "keep decode_head in float32", "yolox_nano", True
    ),
    "mobilenet_v1_0.25": RealModel(
        "mobilenet_v1_0.25_224_imagenet_float",
        "resize 224 crop; mean [127.5]; std [127.5]",
        "keep op Softmax in float32",
        "mobilenet_v1_025",
    ),
    "mlperf_vww_96": RealModel(
        "mlperf_vww_96_float", "resize 96 stretch; rescale 1/255; shape [1, 3, 96, 96]", "", "mlperf_vww_96"
    ),
}


def recipe_for(name: str, granularity: str, folder: Path) -> Path:
    model = MODELS[name]
    images = TESTDATA / "images"
    coco = images / "coco_ccby"
    path = folder / f"{name.replace('.', '_')}_{granularity}.q"
    text = RECIPE.format(
        name=path.stem,
        model=TESTDATA / "models" / f"{model.file}.onnx",
        block=model.block,
        calib=f'coco "{coco}/annotations.json"' if model.detects else f'images "{coco}/*.jpg"',
        far=images / "metu_crack" / "*" / "*.jpg",
        granularity=granularity,
        rules=model.rules,
    )
    path.write_text(text, encoding="utf-8")
    return path


def by_ort(name: str, recipe: Path, folder: Path) -> Path:
    """`quantize_static` on the same samples, what the recipe keeps in float excluded."""
    from onnx import TensorProto, load, save, version_converter
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, converted = TESTDATA / "models" / f"{MODELS[name].file}.onnx", folder / f"{name}_17.onnx"
    model = load(source)
    if model.opset_import[0].version < 13:  # it would write per-channel DequantizeLinear that this opset has not
        model = version_converter.convert_version(model, 17)
    for value in (*model.graph.input, *model.graph.output):
        first = value.type.tensor_type.shape.dim[:1]
        if first and first[0].dim_param and value.type.tensor_type.elem_type == TensorProto.FLOAT:
            first[0].dim_value = 1
    save(model, converted)
    quant_pre_process(str(converted), str(converted), skip_symbolic_shape=True)
    names = {node.name for node in load(converted).graph.node}
    (plan,) = qdsl.plan(recipe).plans
    kept = sorted({node.node for node in plan.nodes if node.origin.rule.startswith("keep")} & names)
    held, _ = opened(recipe, "calib", inputs_of(session(converted, 1)))
    samples = iter([dict(held.sample(index).arrays) for index in range(len(held))])

    class Samples:
        def get_next(self) -> dict[str, Any] | None:
            return next(samples, None)

    out = folder / f"{name}_ort.onnx"
    quantize_static(
        str(converted),
        str(out),
        Samples(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
    )
    return out


def fidelity(model: Path, source: Path, recipe: Path, threads: int) -> dict[str, float]:
    """`sqnr` in dB over all outputs, and `agreement`, the share of pictures with the same best class."""
    near, far = (compared(model, source, recipe, part, threads) for part in ("val", "far"))
    return {**near, "far sqnr": far["sqnr"], "far agreement": far["agreement"]}


def compared(model: Path, source: Path, recipe: Path, part: str, threads: int) -> dict[str, float]:
    one, two = session(source, threads), session(model, threads)
    held, _ = opened(recipe, part, inputs_of(one))
    signal = noise = same = 0.0
    for sample in held:
        (true,) = one.run(None, dict(sample.arrays))[:1]
        (found,) = two.run(None, dict(sample.arrays))[:1]
        signal += float(np.square(true, dtype=np.float64).sum())
        noise += float(np.square(true.astype(np.float64) - found).sum())
        same += float(true.argmax() == found.argmax())
    return {"sqnr": float(10 * np.log10(signal / noise)) if noise else np.inf, "agreement": same / len(held)}


def run(threads: int, folder: Path, wanted: tuple[str, ...] = tuple(MODELS)) -> dict[str, dict[str, Any]]:
    """By model, by scheme (and `float` for a detector): `map50_95`, or `sqnr` and `agreement`."""
    found: dict[str, dict[str, Any]] = {}
    for name in wanted:
        source = TESTDATA / "models" / f"{MODELS[name].file}.onnx"
        recipes = {kind: recipe_for(name, kind.replace(" ", "_"), folder) for kind in OURS}
        builds = {kind: _compiled(recipe, folder) for kind, recipe in recipes.items()}
        recipe = recipes["per channel"]
        builds[CHOSEN] = _compiled(ROOT / "tests" / "recipes" / f"{MODELS[name].recipe}.q", folder)
        builds[BY_ORT] = by_ort(name, recipe, folder)
        if MODELS[name].detects:
            scored = {"float": source, **builds}
            found[name] = {
                k: {"map50_95": evaluate(p, recipe, "val", threads, "yolox").map50_95} for k, p in scored.items()
            }
        else:
            found[name] = {kind: fidelity(path, source, recipe, threads) for kind, path in builds.items()}
        for kind, figures in found[name].items():
            print(f"  {name:20} {kind:32} {'  '.join(f'{k} {v:.4g}' for k, v in figures.items())}", flush=True)
    return found


def _compiled(recipe: Path, folder: Path) -> Path:
    (target,) = qdsl.compile(recipe, out=folder / "build", lock=False, measure=False).targets
    return target.emitted.model


def rows(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Row]:
    table = []
    for name, schemes in found.items():
        best = schemes[CHOSEN]
        if "map50_95" in best:
            lost = schemes["float"]["map50_95"] - best["map50_95"]
            table.append(Row(f"{name}, {CHOSEN}, mAP50-95 below float", lost, "", LOSS))
        else:
            table.append(Row(f"{name}, {CHOSEN}, other answers than float", 1 - best["agreement"], "", 1 - AGREEMENT))
    return table


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    args = parser.parse_args()
    if not TESTDATA.is_dir():
        print(f"no real models: {TESTDATA} is not here")
        return 0
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        found = run(args.threads, Path(temporary), tuple(args.models))
    return finish(rows(found), args.check)


if __name__ == "__main__":
    sys.exit(main())
