"""Non-maximum suppression on what the steel detector says of its validation pictures, in turn with the textbook form
(`tests/suppression_reference.py`); both keep the same boxes, or the script ends with 1.

    python tests/benchmarks/suppression.py --pictures 24 --check
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import ROOT, Row, alternate, finish, machine, median
from detection import CONFIDENCE, MOST, OVERLAP, inputs_of, opened, session

from qdsl import metrics

sys.path.append(str(Path(__file__).resolve().parents[1]))
from suppression_reference import suppressed

Heads = list[tuple[metrics.boxes.Floats, metrics.boxes.Floats]]
BOUND = 1 / 5  # of the textbook's time


def heads(pictures: int) -> Heads:
    """Decoded boxes and scores of the first pictures."""
    run = session(ROOT / "examples" / "steel" / "steel.onnx", 1)
    held, _ = opened(ROOT / "recipes" / "steel_default.q", "val", inputs_of(run))
    return [metrics.yolov8(run.run(None, dict(held.sample(at).arrays))[0]) for at in range(min(pictures, len(held)))]


def ours(given: Heads) -> list[metrics.Detections]:
    return [metrics.nms(b, s, confidence=CONFIDENCE, overlap=OVERLAP, most=MOST) for b, s in given]


def textbook(given: Heads) -> list[metrics.Detections]:
    return [metrics.Detections(*suppressed(b, s, CONFIDENCE, OVERLAP, MOST)) for b, s in given]


def timed(side: Callable[[Heads], object], given: Heads) -> Callable[[], float]:
    def measure() -> float:
        start = time.process_time()
        side(given)
        return (time.process_time() - start) / len(given)

    return measure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit 1 when the bound is broken")
    args = parser.parse_args()
    given = heads(args.pictures)
    for one, other in zip(ours(given), textbook(given), strict=True):
        for what in ("boxes", "scores", "classes"):
            if not np.array_equal(getattr(one, what), getattr(other, what)):
                raise SystemExit(f"the {what} kept are not the textbook's")
    taken = alternate({"ours": timed(ours, given), "textbook": timed(textbook, given)}, args.runs)
    one, other = median(taken["ours"]), median(taken["textbook"])
    candidates = np.mean([(scores >= CONFIDENCE).sum() for _, scores in given])
    print(f"{machine()}; {len(given)} pictures, {candidates:.0f} candidates each, the same boxes kept")
    print(f"processor time per picture: ours {one * 1e3:.1f} ms, textbook {other * 1e3:.1f} ms, {other / one:.1f}x")
    return finish([Row("suppression, of the textbook's time", one / other, "", BOUND)], args.check)


if __name__ == "__main__":
    sys.exit(main())
