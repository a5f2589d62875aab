"""`improve { round adaptive }` with weights in 4 bits: top-1 and the recall of cracks of both classifiers on their 200
validation pictures, mAP of the person detector on its 150, how near the outputs come to float, and the processor time
of the whole `compile`, evaluation included.

Nearest integers, `bias_correct` alone, `round adaptive` alone and both. Bounds, for both: top-1 or mAP50-95 at most 1
point below float, or a fifth of what the nearest integers lose.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import NamedTuple

from common import ROOT, Row, finish, flags, machine

import qdsl
from qdsl.harness import FLOAT, Key
from qdsl.harness.results import Drop


class Network(NamedTuple):
    """What a recipe says of one, and the figures of its task: the first has a bound."""

    folder: str
    text: str
    figures: tuple[Key, ...]


LOSS, SHARE = 1.0, 0.2  # points; of what the nearest integers lose
WAYS = {
    "nearest": "",
    "bias_correct": "improve { bias_correct }",
    "round adaptive": "improve { round adaptive }",
    "both": "improve { bias_correct; round adaptive }",
}
CRACKS = """
model onnx "{{folder}}/{file}"
input "images" {{{{ resize 224 stretch; rescale 1/128; mean [1] }}}}
data calib from folder "{{folder}}" {{{{ split train; classes ["clean", "crack"] }}}}
data val from folder "{{folder}}" {{{{ split val; classes ["clean", "crack"] }}}}
{rules}
evaluate classification on val {{{{ measure top1, recall "crack" }}}}
"""
PEOPLE = """
model onnx "{folder}/yolov8n.onnx"
input "images" {{ resize 640 letterbox; rescale 1/255 }}
data calib from yolo "{folder}/people.yaml" {{ split train; take 300 seed 7 }}
data val from yolo "{folder}/people.yaml" {{ split val }}
keep decode_head in float32
evaluate detection on val {{ decode yolov8; confidence 0.001; nms 0.7; measure map50_95, map50 }}
"""
CLASSES = (Key("top1"), Key("recall", "crack"))
NETWORKS = {
    "v1": Network("cracks", CRACKS.format(file="mobilenet_v1_025.onnx", rules=""), CLASSES),
    "v2": Network(
        "cracks", CRACKS.format(file="mobilenet_v2_050.onnx", rules='place {{ leave tensor "logits" }}'), CLASSES
    ),
    "yolov8n": Network("people", PEOPLE, (Key("map50_95"), Key("map50"))),
}
RECIPE = """recipe rounding
quantize static {{
  weights {bits} storage_only
  activations uint8 affine per_tensor
  calibrate minmax on calib
}}
{improve}
target ort {{ threads 1 }}
evaluate fidelity on val {{ measure agreement, sqnr }}
"""


def main() -> int:
    parser = ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    bits = "int4 symmetric per_channel"
    parser.add_argument("--bits", default=bits, help=f"the scheme of weights (default {bits})")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    wanted = parser.parse_args()
    print(machine(), flags(), sep="\n")
    rows = [row for name in wanted.networks for row in of_network(name, wanted.ways, wanted.bits)]
    return finish(rows, wanted.check) if rows else 0


def of_network(name: str, ways: list[str], bits: str) -> list[Row]:
    """A printed line for each way; the bound where both ends of it were measured."""
    lost = {way: lost_by(name, way, bits) for way in ways}
    if not {"nearest", "both"} <= lost.keys():
        return []
    (figure, _) = NETWORKS[name].figures
    return [Row(f"{name}, {bits}: {figure} lost", lost["both"], "pp", max(LOSS, SHARE * lost["nearest"]))]


def lost_by(name: str, way: str, bits: str) -> float:
    """Points of the first figure below float."""
    network = NETWORKS[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        recipe = folder / "rounding.q"
        text = RECIPE.format(bits=bits, improve=WAYS[way]) + network.text.format(
            folder=ROOT / "examples" / network.folder
        )
        recipe.write_text(text, encoding="utf-8")
        start = time.process_time()
        result = qdsl.compile(recipe, out=folder, lock=False, provenance="none")
        seconds = time.process_time() - start
    outputs, answers = result.evaluations
    scores, whole = answers.of("ort").scores, answers.of(FLOAT).scores
    drops, near = answers.of("ort").drops, outputs.of("ort").scores
    cells = [f"{key}: {scores[key]:.4f} of {whole[key]:.4f} {points(drops[key])}" for key in network.figures]
    print(
        f"{name} {bits} {way:14}  {'  '.join(cells)}  agreement {near[Key('agreement')]:.4f}  "
        f"outputs {near[Key('sqnr')]:.1f} dB  {seconds:.0f} s",
        flush=True,
    )
    return 100 * (whole[network.figures[0]] - scores[network.figures[0]])


def points(drop: Drop) -> str:
    return f"(drop {100 * drop.value:.1f} pp [{100 * drop.low:.1f}, {100 * drop.high:.1f}])"


if __name__ == "__main__":
    raise SystemExit(main())
