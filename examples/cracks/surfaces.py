"""Synthetic close-ups of concrete with and without cracks, for classification. Same seed and versions, same files.

The committed pictures were made by

    python -m examples.cracks.surfaces --out examples/cracks --train 160 --val 200 --test 0 --seed 7

and more, for training, with larger counts and another folder: picture i does not depend on how many are asked for.
Even pictures are clean, odd ones show a crack; everything else is drawn in the same way for both. A crack that can
hardly be seen in the finished picture is drawn again. Every picture has its own random generator, from (seed, split,
index).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.common.drawing import Array, blurred, chance, encode_jpeg, generator, pick, spread, uniform
from examples.cracks.brush import SIDE, along, anywhere, cloud, distance
from examples.cracks.concrete import Surface, random_surface
from examples.cracks.fissures import crack
from examples.cracks.marks import random_marks

SPLITS = {"train": 0, "val": 1, "test": 2}
CLASSES = ("clean", "crack")
LEAST_PIXELS = 120  # of a crack, that stand out
BYTES_PER_IMAGE = 8_000  # JPEG quality falls until a picture fits


def light(rng: np.random.Generator, surface: Surface) -> None:
    """Uneven light: brighter to one side, a lamp's or the sky's patch, darker corners."""
    surface.shade(1 + np.float32(uniform(rng, 0, 0.35) * rng.random() / SIDE) * along(surface.sun))
    if chance(rng, 0.2):
        near = distance(anywhere(rng)) / np.float32(spread(rng, 40, 160))
        surface.shade(1 + np.float32(uniform(rng, -0.25, 0.35)) * np.exp(-near * near))
    off = distance((SIDE / 2, SIDE / 2)) / np.float32(SIDE / 2)
    surface.shade(1 - np.float32(uniform(rng, 0, 0.06)) * off * off)


def lens(rng: np.random.Generator, picture: Array) -> Array:
    """Out of focus by up to two pixels, or moved; (SIDE, SIDE, 3) in and out."""
    sigma = uniform(rng, 0.3, 0.9) if chance(rng, 0.7) else uniform(rng, 0.9, 1.9)
    out = np.stack([blurred(picture[..., c], sigma) for c in range(3)], 2)
    if chance(rng, 0.12):
        axis, reach = pick(rng, [0, 1]), int(rng.integers(2, 5))
        pad = [(reach, 0) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(out, pad, mode="edge")
        out = np.mean([padded.take(range(s, s + SIDE), axis) for s in range(reach)], axis=0, dtype=np.float32)
    return out


def photograph(rng: np.random.Generator, surface: Surface) -> NDArray[np.uint8]:
    """Lens, exposure, contrast, colour cast and noise: (SIDE, SIDE, 3) uint8 RGB."""
    out = lens(rng, surface.seen()) * np.float32(255)
    middle = np.float32(out.mean())
    contrast = uniform(rng, 0.5, 0.8) if chance(rng, 0.15) else uniform(rng, 0.85, 1.2)
    exposure = uniform(rng, 0.55, 0.8) if chance(rng, 0.2) else uniform(rng, 0.85, 1.1)
    out = ((out - middle) * np.float32(contrast) + middle) * np.float32(exposure)
    out *= np.array([uniform(rng, 0.98, 1.02) for _ in range(3)], dtype=np.float32)
    strength = uniform(rng, 3, 9) if chance(rng, 0.2) else uniform(rng, 0.3, 2.5)
    noise = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) * np.float32(strength / math.sqrt(3))
    chroma = cloud(rng, 90)[..., None] * np.array((0.4, -0.2, 0.4), dtype=np.float32) * np.float32(strength)
    return np.asarray((out + noise[..., None] + chroma).clip(0, 255), dtype=np.uint8)


def label(index: int) -> str:
    """The class of picture `index`: they take turns."""
    return CLASSES[index % len(CLASSES)]


def visible(plain: NDArray[np.uint8], cracked: NDArray[np.uint8]) -> bool:
    """Whether the crack stands out: `LEAST_PIXELS` differ by more than twice what texture and noise make of a surface.

    Both are (SIDE, SIDE, 3) pictures of one surface in one light, without and with the crack.
    """
    before, after = (blurred(p.mean(2, dtype=np.float32), 1.0) for p in (plain, cracked))
    texture = float((before - blurred(before, 4.0)).std())
    change = np.sort(np.abs(after - before), axis=None)
    return float(change[-LEAST_PIXELS]) > 2 * (texture + 1.5)


def take(surface: Surface, seed: int) -> NDArray[np.uint8]:
    """A photograph of `surface`, which stays as it is, in the light and with the camera that `seed` stands for."""
    rng = np.random.Generator(np.random.PCG64(seed))
    lit = surface.copy()
    light(rng, lit)
    return photograph(rng, lit)


def make_picture(seed: int, split: str, index: int) -> NDArray[np.uint8]:
    """Picture `index` of a split ("train", "val" or "test"): (SIDE, SIDE, 3) uint8 RGB, of class `label(index)`."""
    rng = generator(seed, SPLITS[split], index)
    surface = random_surface(rng)
    for mark in random_marks(rng):
        mark(rng, surface)
    camera = int(rng.integers(2**32))
    plain = take(surface, camera)
    while label(index) == "crack":
        cracked = surface.copy()
        crack(rng, cracked)
        picture = take(cracked, camera)
        if visible(plain, picture):
            return picture
    return plain


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(picture, BYTES_PER_IMAGE, (88, 80, 72, 64, 56, 48, 40, 32))


def write_split(out: Path, split: str, count: int, seed: int) -> Iterator[str]:
    """Write `count` pictures of one split under `out`, in one folder per class; yields the class of each."""
    for index in range(count):
        kind = label(index)
        folder = out / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:05d}.jpg").write_bytes(jpeg(make_picture(seed, split, index)))
        yield kind


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate pictures of concrete with and without cracks.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets SPLIT/CLASS/00000.jpg")
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--val", type=int, default=500)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for split, count in (("train", args.train), ("val", args.val), ("test", args.test)):
        kinds = list(write_split(args.out, split, count, args.seed))
        if kinds:
            print(f"{split}: {count} pictures, " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in CLASSES))


if __name__ == "__main__":
    main()
