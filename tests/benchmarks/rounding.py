"""`improve { round adaptive }` on the crack classifiers with weights in 4 bits: top-1, the recall of cracks, agreement
with the float answers and the logits' signal-to-noise ratio on the 200 validation pictures, and the processor time of
the whole `compile`, evaluation included.

Nearest integers, `bias_correct` alone, `round adaptive` alone and both. Bounds, for both: top-1 at most 1 point below
float, or a fifth of what the nearest integers lose.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from common import ROOT, Row, finish, flags, machine

import qdsl
from qdsl.harness import FLOAT, Key
from qdsl.harness.results import Drop

LOSS, SHARE = 1.0, 0.2  # points of top-1; of what the nearest integers lose
NETWORKS = {"v1": ("mobilenet_v1_025.onnx", ""), "v2": ("mobilenet_v2_050.onnx", 'place { leave tensor "logits" }')}
WAYS = {
    "nearest": "",
    "bias_correct": "improve { bias_correct }",
    "round adaptive": "improve { round adaptive }",
    "both": "improve { bias_correct; round adaptive }",
}
TOP1, RECALL = Key("top1"), Key("recall", "crack")
RECIPE = """recipe rounding
model onnx "{examples}/{file}"
input "images" {{ resize 224 stretch; rescale 1/128; mean [1] }}
data calib from folder "{examples}" {{ split train; classes ["clean", "crack"] }}
data val from folder "{examples}" {{ split val; classes ["clean", "crack"] }}
quantize static {{
  weights {bits} symmetric per_channel storage_only
  activations uint8 affine per_tensor
  calibrate minmax on calib
}}
{place}
{improve}
target ort {{ threads 1 }}
evaluate classification on val {{ measure top1, recall "crack" }}
evaluate fidelity on val {{ measure agreement, sqnr }}
"""


def main() -> int:
    parser = ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--bits", default="int4", help="how weights are stored (default int4)")
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
    return [Row(f"{name}, {bits}: top-1 lost", lost["both"], "pp", max(LOSS, SHARE * lost["nearest"]))]


def lost_by(name: str, way: str, bits: str) -> float:
    """Points of top-1 below float."""
    file, place = NETWORKS[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        recipe = folder / "rounding.q"
        examples = ROOT / "examples" / "cracks"
        text = RECIPE.format(examples=examples, file=file, bits=bits, place=place, improve=WAYS[way])
        recipe.write_text(text, encoding="utf-8")
        start = time.process_time()
        result = qdsl.compile(recipe, out=folder, lock=False, provenance="none")
        seconds = time.process_time() - start
    answers, outputs = result.evaluations
    scores, whole = answers.of("ort").scores, answers.of(FLOAT).scores
    drops, near = answers.of("ort").drops, outputs.of("ort").scores
    cells = [f"{key}: {scores[key]:.4f} of {whole[key]:.4f} {points(drops[key])}" for key in (TOP1, RECALL)]
    print(
        f"{name} {bits} {way:14}  {'  '.join(cells)}  agreement {near[Key('agreement')]:.4f}  "
        f"logits {near[Key('sqnr')]:.1f} dB  {seconds:.0f} s",
        flush=True,
    )
    return 100 * (whole[TOP1] - scores[TOP1])


def points(drop: Drop) -> str:
    return f"(drop {100 * drop.value:.1f} pp [{100 * drop.low:.1f}, {100 * drop.high:.1f}])"


if __name__ == "__main__":
    raise SystemExit(main())
