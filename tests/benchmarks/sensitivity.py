"""Sensitivity by running, of YOLOv8n or of yolox_nano: its time against evaluating the same pictures once, and how well
the order of layers by their shares of the pictures is that of measuring every layer on every picture.

Evaluating is decoding and the float model as it is deployed, on one thread, before and after; both sides are told in
processor time. The order is told as Kendall's tau-b, over all pairs and over those further apart than two standard
errors. `--full` takes as many passes as there are layers, and an hour or more for YOLOv8n.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import ROOT, Row, finish, machine

from qdsl import calibrate, data
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.graph import to_bytes
from qdsl.graph.sessions import DEPLOYED, Session
from qdsl.lang import Loaded
from qdsl.lang import load as load_recipe
from qdsl.sensitivity.measuring import How, measure
from qdsl.sensitivity.units import Unit, stored_as, units_of, with_weights
from qdsl.spec import DTYPES
from qdsl.spec.sensitivity import Row as Measured
from qdsl.spec.sensitivity import Sensitivity, to_json
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import Prepared, prepare, read, takes

MOST = 8.0
TESTDATA = ROOT.parent / "shared" / "testdata"
YOLOX = """recipe yolox_nano
model onnx "{folder}/models/yolox_nano.onnx"
input {{
  resize 416 letterbox top_left
  color bgr
}}
data calib from images "{folder}/images/coco_ccby/*.jpg" {{ take {take} seed 7 }}
quantize static {{
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}}
target ort
"""


def opened(model: str, pictures: int, folder: Path) -> tuple[Prepared, Dataset]:
    """The model in canonical form, and its pictures."""
    path = ROOT / "recipes" / "yolov8n_static.q"
    if model == "yolox_nano":
        path = folder / "yolox_nano.q"
        path.write_text(YOLOX.format(folder=TESTDATA, take=pictures), encoding="utf-8")
    loaded: Loaded = read(path, None) if model != "yolox_nano" else load_recipe(path, sets={})
    prepared = prepare(loaded)
    spec = replace(prepared.recipe.dataset("calib"), take=(pictures, 7))
    return prepared, data.open(spec, prepared.recipe.inputs, takes(prepared))


def layers(prepared: Prepared, dataset: Dataset, types: Sequence[str]) -> tuple[tuple[Unit, ...], calibrate.Ranges]:
    """The layers with weights as planned, or their weights alone in each of `types`; and the ranges."""
    (decided,) = decide_all(prepared, None, Diagnostics())
    wanted = [calibrate.Request(each.tensor) for each in decided.plan.tensors if each.observe]
    ranges = calibrate.calibrate(prepared.model, wanted, dataset)
    units = units_of(decided.plan, prepared.view)
    if types:
        ways = {name: stored_as(lambda scheme, name=name: replace(scheme, dtype=DTYPES[name])) for name in types}  # type: ignore[misc]
        return with_weights(units, ways), ranges
    return tuple(unit for unit in units if unit.choices[0].weights), ranges


def evaluated(prepared: Prepared, dataset: Dataset) -> float:
    """Seconds of processor time of decoding the pictures and running the float model on them, once."""
    before = time.process_time()
    session = Session(to_bytes(prepared.model), replace(DEPLOYED, threads=1))
    for sample in dataset:
        session.run(session.outputs, sample.arrays)
    return time.process_time() - before


def tau(ones: Sequence[Measured], others: Sequence[Measured], apart: float = 0.0) -> float:
    """Kendall's tau-b between two measures of the same layers; of pairs that `others` tells further apart than so many
    standard errors of `ones`."""
    agree = differ = 0
    for (a, b), (c, d) in zip(itertools.combinations(ones, 2), itertools.combinations(others, 2), strict=True):
        if abs(c.loss - d.loss) <= apart * math.hypot(a.error or 0.0, b.error or 0.0):
            continue
        same = (a.loss - b.loss) * (c.loss - d.loss)
        agree, differ = agree + (same > 0), differ + (same < 0)
    return (agree - differ) / max(1, agree + differ)


def compared(share: Sensitivity, full: Sensitivity) -> None:
    for choice in share.choices:
        ones, others = ([r for r in each.rows if r.choice == choice and r.samples] for each in (share, full))
        if ones:
            close = sum(abs(a.loss - b.loss) <= 2 * (a.error or 0.0) for a, b in zip(ones, others, strict=True))
            print(
                f"{choice}: tau {tau(ones, others):.3f}, of pairs that are told apart {tau(ones, others, 2.0):.3f}; "
                f"{close} of {len(ones)} within two standard errors of the full measure"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("yolov8n", "yolox_nano"), default="yolov8n")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--types", nargs="*", default=[], help="weights alone in these types, in place of layers")
    parser.add_argument("--full", action="store_true", help="every layer on every picture, too")
    kept = Path(tempfile.gettempdir()) / "qdsl-sensitivity"
    parser.add_argument("--out", type=Path, default=kept, help="where records are kept")
    parser.add_argument("--check", action="store_true", help="exit 1 when the bound is broken")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prepared, dataset = opened(args.model, args.pictures, args.out)
    units, ranges = layers(prepared, dataset, args.types)
    first, start = evaluated(prepared, dataset), time.process_time()
    share = measure(prepared.model, units, ranges, dataset, How(seed=7))
    took = time.process_time() - start
    once = (first + evaluated(prepared, dataset)) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (args.out / f"{args.model}_share.json").write_text(to_json(share), encoding="utf-8")
    measured = max(row.samples for row in share.rows)
    print(machine())
    print(
        f"{args.model}: {len(units)} layers, {len(dataset)} pictures, each layer on {measured}; {share.runs} runs, "
        f"{share.effort / len(dataset):.1f} passes by multiplications; evaluating once {once:.1f} s, sensitivity "
        f"{took:.1f} s, peak {peak:.0f} MB"
    )
    if args.full:
        full = measure(prepared.model, units, ranges, dataset, How(seed=7, share=len(dataset)), folder=args.out)
        (args.out / f"{args.model}_full.json").write_text(to_json(full), encoding="utf-8")
        compared(share, full)
    finish([Row(f"sensitivity of {args.model}, times evaluating", took / once, "x", MOST)], args.check)


if __name__ == "__main__":
    main()
