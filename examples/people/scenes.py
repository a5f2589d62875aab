"""Synthetic street scenes with people, labelled for detection. Same seed and library versions, same files.

The committed images and labels were made by

    python -m examples.people.scenes --out examples/people --train 300 --val 150 --seed 7

and more, for training, with a larger count and another folder: scene i does not depend on how many are asked for.
A label is the visible extent of one person; people less than 35 % visible are not labelled, nor are dummies,
busts and posters. Every scene draws its own random generator from (seed, split, index).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from examples.common.boxes import write_scene
from examples.common.drawing import Array, chance, encode_jpeg, generator, pick, uniform
from examples.people.backdrop import draw_backdrop
from examples.people.brush import smooth_noise
from examples.people.figures import render_person
from examples.people.props import DISTRACTORS, FURNITURE, lamp, umbrella
from examples.people.street import Box, Canvas, View, random_light, random_view

SPLITS = {"train": 0, "val": 1}
BYTES_PER_IMAGE = 21_000  # JPEG quality falls until a scene fits
PERSON_METRES = 1.7
SMALLEST_PERSON = 42.0  # pixels, standing: the least that a detector of this size learns to box well


@dataclass(frozen=True)
class Scene:
    """`image` is (H, W, 3) uint8 RGB; `boxes` are centre x, centre y, width and height as fractions of W and H."""

    image: NDArray[np.uint8]
    boxes: list[Box]


@dataclass(frozen=True)
class Slot:
    """Something to draw: at `x` pixels, `scale` pixels per metre (so, how near), of one of the kinds below."""

    x: float
    scale: float
    kind: str


def random_slots(rng: np.random.Generator, view: View) -> list[Slot]:
    """Where things stand, far to near. About one scene in nine has nobody."""
    nearest = min(240.0, 0.95 * view.height / PERSON_METRES)
    farthest = 13.0 / PERSON_METRES
    farthest_person = SMALLEST_PERSON / PERSON_METRES

    def depth(low: float = farthest, high: float = nearest) -> float:
        return float(math.exp(uniform(rng, math.log(low), math.log(high))))

    slots: list[Slot] = []
    people = 0 if chance(rng, 0.11) else 1 + int(rng.geometric(0.18)) % 16
    while people > 0:
        group = min(people, int(rng.geometric(0.6)))
        scale, x = depth(farthest_person, nearest * uniform(rng, 0.3, 1.0)), uniform(rng, -0.02, 1.02) * view.width
        for _ in range(group):
            slots.append(Slot(x, scale, "person"))
            # Companions stand half a metre to a metre apart and often hide each other.
            x += pick(rng, [-1, 1]) * uniform(rng, 0.3, 1.1) * scale
            scale = min(nearest, scale * uniform(rng, 0.88, 1.14))
        if chance(rng, 0.3):  # something just in front of somebody
            slots.append(Slot(x + uniform(rng, -0.6, 0.6) * scale, scale * uniform(rng, 1.03, 1.2), "furniture"))
        people -= group
    for _ in range(int(rng.integers(1, 7))):
        slots.append(Slot(uniform(rng, 0, view.width), depth(high=nearest * 0.7), "distractor"))
    for _ in range(int(rng.integers(2, 8))):
        slots.append(Slot(uniform(rng, -20, view.width + 20), depth(high=nearest * 0.6), "furniture"))
    return sorted(slots, key=lambda s: s.scale)


def draw_objects(rng: np.random.Generator, canvas: Canvas) -> list[tuple[float, float, float]]:
    """Everything that stands on the ground; the return value is x, y and pixels per metre of each street lamp."""
    view, side = canvas.view, canvas.light.sun
    lamps: list[tuple[float, float, float]] = []
    for slot in random_slots(rng, view):
        y = view.ground(slot.scale)
        if slot.kind == "person":
            tall = PERSON_METRES * (uniform(rng, 0.6, 0.85) if chance(rng, 0.12) else uniform(rng, 0.92, 1.1))
            canvas.place(render_person(rng, tall * slot.scale, side), slot.x, y, slot.scale, person=True)
            if chance(rng, 0.06):
                canvas.place(umbrella(rng, slot.scale * tall / 1.7, side), slot.x, y, slot.scale)
            continue
        prop = pick(rng, DISTRACTORS if slot.kind == "distractor" else FURNITURE)
        canvas.place(prop(rng, slot.scale, side), slot.x, y, slot.scale)
        if prop is lamp:
            lamps.append((slot.x, y, slot.scale))
    return lamps


def apply_light(rng: np.random.Generator, canvas: Canvas, lamps: list[tuple[float, float, float]]) -> Array:
    """Colour under the light of the hour: (H, W, 3) in 0..255, with pools of light under lamps at night."""
    view, light = canvas.view, canvas.light
    level = np.empty_like(canvas.colour)
    level[:] = np.array(light.base, dtype=np.float32)
    if light.kind in ("night", "dusk"):
        ys, xs = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
        spare = (uniform(rng, 0, view.width), view.ground(uniform(rng, 20, 90)), uniform(rng, 20, 90))
        for x, y, scale in [*lamps, spare]:
            spread = np.float32(3.2 * scale)
            pool = np.exp(-(((xs - x) / spread) ** 2) - ((ys - (y - scale)) / (spread * 0.8)) ** 2)
            level += pool[..., None] * np.array((0.62, 0.5, 0.34), dtype=np.float32)
    lit = canvas.colour * level
    glow = canvas.glow
    if light.kind in ("night", "dusk"):
        small = Image.fromarray(glow.clip(0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(7))
        glow = glow + 0.6 * np.asarray(small, dtype=np.float32)
    return np.asarray(lit + glow, dtype=np.float32)


def photograph(rng: np.random.Generator, picture: Array) -> NDArray[np.uint8]:
    """Lens and sensor: blur, exposure, contrast, colour cast, vignette and noise. Returns (H, W, 3) uint8."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    blur = uniform(rng, 0.0, 0.7) if chance(rng, 0.75) else uniform(rng, 0.8, 1.7)
    out = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32)
    if chance(rng, 0.12):  # the camera moved sideways
        reach = int(rng.integers(2, 6))
        out = np.mean([np.roll(out, s, axis=1) for s in range(reach)], axis=0, dtype=np.float32)
    contrast = uniform(rng, 0.4, 0.7) if chance(rng, 0.2) else uniform(rng, 0.8, 1.15)
    out = (out - 110) * contrast + 110 + uniform(rng, -18, 18)
    out = out * np.array([uniform(rng, 0.93, 1.07) for _ in range(3)], dtype=np.float32)
    ys, xs = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    out *= (1 - np.float32(uniform(rng, 0, 0.2)) * (ys[:, None] ** 2 + xs[None, :] ** 2) / 2)[..., None]
    strength = uniform(rng, 4, 11) if chance(rng, 0.3) else uniform(rng, 0.5, 3.5)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) * np.float32(0.577 * strength)
    chroma = (
        smooth_noise(rng, height, width, 160)[..., None]
        * np.array((0.5, -0.2, 0.4), dtype=np.float32)
        * np.float32(strength)
    )
    return np.asarray((out + noise[..., None] + chroma).clip(0, 255), dtype=np.uint8)


def make_scene(seed: int, split: str, index: int) -> Scene:
    """Scene `index` of a split ("train" or "val")."""
    rng = generator(seed, SPLITS[split], index)
    canvas = Canvas(random_view(rng), random_light(rng))
    draw_backdrop(rng, canvas)
    lamps = draw_objects(rng, canvas)
    return Scene(photograph(rng, apply_light(rng, canvas, lamps)), canvas.boxes())


def jpeg(image: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(image, BYTES_PER_IMAGE, (85, 75, 66, 58, 50, 42, 35))


def write_split(out: Path, split: str, count: int, seed: int) -> Iterator[int]:
    """Write `count` scenes of one split under `out`; yields the number of people in each."""
    for index in range(count):
        scene = make_scene(seed, split, index)
        write_scene(out, split, index, jpeg(scene.image), ((0, *box) for box in scene.boxes))
        yield len(scene.boxes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate labelled street scenes with people.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets images/ and labels/")
    parser.add_argument("--train", type=int, default=300, help="scenes in images/train")
    parser.add_argument("--val", type=int, default=150, help="scenes in images/val")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for split, count in (("train", args.train), ("val", args.val)):
        people = list(write_split(args.out, split, count, args.seed))
        print(f"{split}: {count} scenes, {sum(people)} people, {people.count(0)} scenes without")


if __name__ == "__main__":
    main()
