"""Synthetic pictures of steel strip with rare defects, labelled for detection. Same seed and versions, same files.

The committed pictures and labels were made by

    python -m examples.steel.plates --out examples/steel --train 400 --val 240 --seed 7

and more, for training, with larger counts and another folder: scene i does not depend on how many are asked for. The
number of a scene decides what it shows: in `train` 92 of each hundred are clean, 3 have cracks, 2 inclusions, 2 pits
and 1 scale; in `val` 12 of each forty are clean and 7 show each defect, so that every class can be measured. Everything
else is drawn in the same way for all. Every scene has its own random generator, from (seed, split, index).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.common.boxes import write_scene
from examples.common.drawing import Array, encode_jpeg, generator
from examples.steel.brush import SIDE
from examples.steel.defects import CLASSES, DEFECTS
from examples.steel.marks import random_marks
from examples.steel.strip import Strip, light, photograph, random_strip

SPLITS = {"train": 0, "val": 1}
CLEAN = "clean"
# How many scenes in a row of a split show what, and a stride without common divisor that mixes them.
SHARES: dict[str, dict[str, int]] = {
    "train": {CLEAN: 92, "crack": 3, "inclusion": 2, "pit": 2, "scale": 1},
    "val": {CLEAN: 12, "crack": 7, "inclusion": 7, "pit": 7, "scale": 7},
}
STRIDES = {"train": 37, "val": 23}
MOST = 3  # defects in a scene, all of one class
COVERED = 0.35  # of a pixel, that counts for the box
LEAST_SIDE = 8  # pixels of a box
OVERLAP = 0.1  # of the smaller box, that another may cover
BYTES_PER_IMAGE = 7_400  # JPEG quality falls until a picture fits

Span = tuple[int, int, int, int]


@dataclass(frozen=True)
class Box:
    """`kind` is an index of CLASSES; centre, width and height are fractions of the picture's side."""

    kind: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Scene:
    """`image` is (SIDE, SIDE, 3) uint8 RGB; a clean scene has no boxes, others one to `MOST` of one class."""

    image: NDArray[np.uint8]
    boxes: tuple[Box, ...]


def kind_of(split: str, index: int) -> str:
    """What scene `index` of a split shows: "clean" or one of CLASSES."""
    shares = SHARES[split]
    place = index * STRIDES[split] % sum(shares.values())
    for kind, count in shares.items():
        if place < count:
            return kind
        place -= count
    raise AssertionError("the shares do not cover their sum")


def span(cover: Array) -> Span | None:
    """Columns x0, x1 and rows y0, y1 of what `cover` (SIDE, SIDE) covers, ends excluded; None for next to nothing."""
    ys, xs = np.nonzero(cover > COVERED)
    if len(xs) == 0:
        return None
    x0, x1, y0, y1 = int(xs.min()), int(xs.max()) + 1, int(ys.min()), int(ys.max()) + 1
    return (x0, x1, y0, y1) if min(x1 - x0, y1 - y0) >= LEAST_SIDE else None


def apart(a: Span, b: Span) -> bool:
    """Whether two spans share at most `OVERLAP` of the smaller one."""
    wide, high = min(a[1], b[1]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[2], b[2])
    smaller = min((s[1] - s[0]) * (s[3] - s[2]) for s in (a, b))
    return max(0, wide) * max(0, high) <= OVERLAP * smaller


def spoil(rng: np.random.Generator, strip: Strip, kind: str) -> tuple[Strip, tuple[Box, ...]]:
    """`strip` with one to `MOST` defects of a class, and their boxes; `strip` itself stays as it is.

    A defect too small for a box, or across another one, is drawn again in another place.
    """
    found: list[Span] = []
    wanted = 1 + int(rng.geometric(0.6) - 1) % MOST
    while len(found) < wanted:
        trial = strip.copy()
        seen = span(DEFECTS[kind](rng, trial))
        if seen is not None and all(apart(seen, other) for other in found):
            found.append(seen)
            strip = trial
    number = CLASSES.index(kind)
    boxes = ((number, (a + b) / 2 / SIDE, (c + d) / 2 / SIDE, (b - a) / SIDE, (d - c) / SIDE) for a, b, c, d in found)
    return strip, tuple(Box(*fields) for fields in boxes)


def make_scene(seed: int, split: str, index: int) -> Scene:
    """Scene `index` of a split ("train" or "val")."""
    rng = generator(seed, SPLITS[split], index)
    strip = random_strip(rng)
    boxes: tuple[Box, ...] = ()
    for mark in random_marks(rng):
        mark(rng, strip)
    kind = kind_of(split, index)
    if kind != CLEAN:
        strip, boxes = spoil(rng, strip, kind)
    light(rng, strip)
    return Scene(photograph(rng, strip), boxes)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(image, BYTES_PER_IMAGE, (88, 80, 72, 64, 56, 48, 40, 32))


def write_split(out: Path, split: str, count: int, seed: int, clean_every: int) -> Iterator[str]:
    """Write scenes 0 to `count` - 1 of a split under `out`, of the clean ones each `clean_every`th number alone.

    Yields what each written scene shows.
    """
    for index in range(count):
        kind = kind_of(split, index)
        if kind == CLEAN and index % clean_every:
            continue
        scene = make_scene(seed, split, index)
        rows = [(box.kind, box.x, box.y, box.width, box.height) for box in scene.boxes]
        write_scene(out, split, index, jpeg(scene.image), rows)
        yield kind


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate labelled pictures of steel strip with rare defects.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets images/ and labels/")
    parser.add_argument("--train", type=int, default=400, help="scenes of the train split")
    parser.add_argument("--val", type=int, default=240, help="scenes of the val split")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--clean-every", type=int, default=1, help="write one in so many clean scenes of train")
    args = parser.parse_args()
    for split, count, every in (("train", args.train, args.clean_every), ("val", args.val, 1)):
        kinds = list(write_split(args.out, split, count, args.seed, every))
        print(f"{split}: {len(kinds)} scenes, " + ", ".join(f"{kinds.count(k)} {k}" for k in (CLEAN, *CLASSES)))


if __name__ == "__main__":
    main()
