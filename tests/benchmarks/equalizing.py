"""`improve { equalize }`: what it wins where weights have one scale, on pictures that did not calibrate; its time.

MobileNetV1 x0.25 is calibrated on every other one of the labelled COCO pictures of ../shared/testdata, and compared
with its float model on the rest and on their mirror images; then the other way round, so that every picture is judged
once beside its mirror image. So is the person detector of MLPerf Tiny, given channels of unequal range first (the
same function). The time is that of the pass alone, on the canonical graph.
Bounds: 55 % of MobileNet's answers kept, half of the detector's lost ones back, a second per model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
from common import ROOT, Row, finish, flags, machine
from PIL import Image

sys.path.insert(0, str(ROOT / "tests"))

from unequal import unequal

import qdsl
from qdsl.graph import load, to_proto
from qdsl.harness.results import Key
from qdsl.passes.index import make
from qdsl.passes.pipeline import canonicalise
from qdsl.rewrite import run

TESTDATA = ROOT.parent / "shared" / "testdata"
KEPT, LEFT, SECONDS = 0.55, 0.5, 1.0
BOTH = "improve { equalize; bias_correct }"
ALL = "improve { equalize; bias_correct; round adaptive }"
RECIPE = """recipe demo
model onnx "{model}"
input {{
  {block}
}}
data calib from images "{calib}"
data held from images "{held}"
quantize static {{
  weights     uint8 symmetric {granularity}
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}}
{rules}
target ort
evaluate fidelity on held {{ measure agreement }}
"""
MOBILENET = "resize 224 crop; mean [127.5]; std [127.5]"
DETECTOR = "resize 96 stretch; rescale 1/255; shape [1, 3, 96, 96]"


class Kind(NamedTuple):
    """Weights of a build, and what is made better."""

    title: str
    granularity: str
    improve: str


KINDS = (
    Kind("per tensor", "per_tensor", ""),
    Kind("per tensor, bias_correct", "per_tensor", "improve { bias_correct }"),
    Kind("per tensor, equalize and bias_correct", "per_tensor", BOTH),
    Kind("per tensor, all and round adaptive", "per_tensor", ALL),
    Kind("per channel, bias_correct", "per_channel", "improve { bias_correct }"),
    Kind("per channel, equalize and bias_correct", "per_channel", BOTH),
)


class Half(NamedTuple):
    """What calibrates, and what is judged: the other pictures and their mirror images."""

    calib: Path
    held: Path
    pictures: int


def halves(folder: Path) -> Iterator[Half]:
    files = sorted((TESTDATA / "images" / "coco_ccby").glob("*.jpg"))
    for half in (0, 1):
        calib, held = folder / f"calib{half}", folder / f"held{half}"
        calib.mkdir()
        held.mkdir()
        for file in files[half::2]:
            (calib / file.name).symlink_to(file)
        for file in files[1 - half :: 2]:
            (held / file.name).symlink_to(file)
            with Image.open(file) as picture:
                mirror = picture.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mirror.save(held / f"{file.stem}_mirrored.png")
        yield Half(calib, held, sum(1 for _ in held.iterdir()))


def agreement(recipe: str, folder: Path) -> float:
    """The share of pictures with the same best class as by the float model."""
    folder.mkdir(parents=True)
    (folder / "demo.q").write_text(recipe, encoding="utf-8")
    (evaluation,) = qdsl.compile(folder / "demo.q", out=folder / "build", lock=False).evaluations
    return float(evaluation.of("ort").scores[Key("agreement")])


def judged(
    name: str, model: Path, block: str, kinds: Sequence[Kind], folder: Path, rules: str = ""
) -> dict[str, float]:
    """The share of answers kept, by kind, over both halves."""
    cut, shares = list(halves(folder)), {}
    for number, kind in enumerate(kinds):
        kept = 0.0
        for half, each in enumerate(cut):
            text = RECIPE.format(
                model=model,
                block=block,
                calib=each.calib / "*",
                held=each.held / "*",
                granularity=kind.granularity,
                rules=f"{kind.improve}\n{rules}",
            )
            kept += agreement(text, folder / f"{number}_{half}") * each.pictures
        shares[kind.title] = kept / sum(each.pictures for each in cut)
        print(f"  {name:24} {kind.title:40} {shares[kind.title]:.3f}", flush=True)
    return shares


def mobilenet(folder: Path) -> list[Row]:
    model = TESTDATA / "models" / "mobilenet_v1_0.25_224_imagenet_float.onnx"
    kept = judged("mobilenet_v1_0.25", model, MOBILENET, KINDS, folder, "keep op Softmax in float32")
    return [Row("mobilenet_v1_0.25 per tensor, other answers than float", 1 - kept[KINDS[2].title], "", 1 - KEPT)]


def detector(folder: Path) -> list[Row]:
    model = load(TESTDATA / "models" / "mlperf_vww_96_float.onnx", widen=True)
    canonicalise(model)
    onnx.save(unequal(to_proto(model)), folder / "unequal.onnx")
    kept = judged("mlperf_vww_96, unequal", folder / "unequal.onnx", DETECTOR, KINDS[:3], folder)
    lost, left = 1 - kept[KINDS[0].title], 1 - kept[KINDS[2].title]
    return [Row("mlperf_vww_96 unequal, lost answers that stay lost", left / lost if lost else 0.0, "", LEFT)]


def seconds(path: Path, runs: int = 5) -> float:
    """Median processor time of the pass, loading and canonicalising left out."""
    taken = []
    for _ in range(runs):
        model = load(path, widen=True)
        canonicalise(model)
        start = time.process_time()
        trace = run([make("equalize")], model)
        taken.append(time.process_time() - start)
    found = statistics.median(taken)
    print(f"  {path.stem}: {trace.edits} pairs, {found:.3f} s of processor time", flush=True)
    return found


def times(_: Path) -> list[Row]:
    models = [ROOT / "examples" / "people" / "yolov8n.onnx", *(TESTDATA / "models").glob("mobilenet*_float.onnx")]
    return [Row(f"{path.stem}, the pass", seconds(path), "s", SECONDS) for path in models]


PARTS: Mapping[str, Callable[[Path], list[Row]]] = {"mobilenet": mobilenet, "detector": detector, "time": times}


def _folder(within: Path, part: str) -> Path:
    (within / part).mkdir()
    return within / part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is broken")
    args = parser.parse_args()
    if not TESTDATA.is_dir():
        print(f"no real models: {TESTDATA} is not here")
        return 0
    print(machine(), flags(), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        found = [row for part in args.parts for row in PARTS[part](_folder(Path(temporary), part))]
    return finish(found, args.check)


if __name__ == "__main__":
    sys.exit(main())
