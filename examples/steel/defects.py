"""The four defects. Each function draws one on a strip and returns its coverage (SIDE, SIDE), 0..1, for the box.

The stronger ones are dark and bright at once, from black ground to the flash of a bare edge, and scale is coloured: far
outside of what any clean strip shows. The weakest are hardly stronger than marks are, and differ in shape alone. Light
falls from `strip.sun`, above or below.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from examples.common.drawing import Array, Point, Stencil, blurred, chance, pick, smooth_step, spread, uniform
from examples.steel.brush import SHEET, anywhere, blob, cloud, moved, noise
from examples.steel.strip import Strip

CLASSES = ("crack", "inclusion", "pit", "scale")
INNER = 24.0  # pixels from the border to the middle of a defect, at least

Defect = Callable[[np.random.Generator, Strip], Array]


def strength(rng: np.random.Generator) -> np.float32:
    """How strong a defect is drawn, 1 being in full: half of them are below 0.65."""
    return np.float32(spread(rng, 0.42, 1.0))


def lit_edge(cover: Array, sun: int, reach: int = 1) -> Array:
    """(SIDE, SIDE) 0..1: what lies past the edge of a hole that faces the light: below it, for light from above."""
    return np.asarray((moved(cover, 0, reach * sun) - cover).clip(0, 1), dtype=np.float32)


def walk(rng: np.random.Generator, start: Point, heading: float, length: float, jag: float) -> list[Point]:
    """A broken line of `length` pixels in about the direction `heading`; `jag` is a change of direction in radians."""
    step, turn, points = 5.0, 0.0, [start]
    for _ in range(max(2, round(length / step))):
        turn = 0.85 * turn + 0.15 * float(rng.standard_normal())
        lean = heading + 1.2 * turn + jag * float(rng.standard_normal())
        x, y = points[-1]
        points.append((x + step * math.cos(lean), y + step * math.sin(lean)))
    return points


def crack(rng: np.random.Generator, strip: Strip) -> Array:
    """An open, jagged line with a branch or two, thinner towards its ends, and a bright lip on one side."""
    stencil, heading = Stencil(SHEET), uniform(rng, 0, math.pi)
    width, length, jag = spread(rng, 1.4, 4.5), spread(rng, 50, 200), uniform(rng, 0.25, 0.6)
    x, y = anywhere(rng, INNER)
    start = (x - length / 2 * math.cos(heading), y - length / 2 * math.sin(heading))
    stem = walk(rng, start, heading, length, jag)
    lines = [(stem, width)]
    for _ in range(int(rng.integers(0, 4))):
        side = heading + pick(rng, [-1, 1]) * uniform(rng, 0.5, 1.2)
        lines.append((walk(rng, pick(rng, stem), side, length * uniform(rng, 0.1, 0.35), jag), 0.6 * width))
    for points, broad in lines:
        for i in range(len(points) - 1):
            taper = min(1.0, 4 * (i + 0.5) / len(points), 4 * (len(points) - i - 0.5) / len(points))
            stencil.line(points[i : i + 2], max(0.8, broad * taper * uniform(rng, 0.6, 1.3)))
    cover = stencil.finish()
    force = strength(rng)
    strip.tone(force * np.float32(spread(rng, 0.3, 1.3)) * lit_edge(cover, strip.sun, 1 + round(width / 2)))
    strip.tone(-force * np.float32(uniform(rng, 0.6, 0.95)) * cover)
    return cover


def inclusion(rng: np.random.Generator, strip: Strip) -> Array:
    """Slag that was rolled out: dark, ragged spindles along the strip, one behind the other, some burnished."""
    stencil, (x, y) = Stencil(SHEET), anywhere(rng, INNER)
    for _ in range(1 + int(rng.geometric(0.45)) % 5):
        length, thick = spread(rng, 18, 110), spread(rng, 3.0, 11.0)
        ts = np.linspace(0, 1, 14)
        half = thick / 2 * np.sin(np.pi * ts) ** 0.7
        rough = [half * (1 + 0.35 * rng.standard_normal(14)).clip(0.3, 1.8) for _ in range(2)]
        xs = x + (ts - 0.5) * length
        edge = [*zip(xs, y - rough[0], strict=True), *reversed(list(zip(xs, y + rough[1], strict=True)))]
        stencil.polygon([(float(a), float(b)) for a, b in edge])
        x, y = x + length * uniform(rng, 0.4, 0.9) * pick(rng, [-1, 1]), y + uniform(rng, -1.2, 1.2) * thick
    cover = stencil.finish()
    force, veins = strength(rng), (0.85 + 0.25 * noise(rng, 80, 8)).clip(0.3, 1.1)
    strip.tone(-force * np.float32(uniform(rng, 0.55, 0.9)) * cover * veins)
    gleam = smooth_step(noise(rng, 60, 12), 0.8, 1.8) * cover
    strip.paint(force * force * np.float32(uniform(rng, 0.3, 0.9)) * gleam, (1.0, 1.0, 0.98))
    return cover


def pit(rng: np.random.Generator, strip: Strip) -> Array:
    """A nest of small round holes, black, each with a bright crescent on the side that faces the light."""
    centre, nest, count = anywhere(rng, INNER), spread(rng, 8, 40), int(spread(rng, 3, 36))
    stencil, usual = Stencil(SHEET), spread(rng, 1.4, 4.2)
    for _ in range(count):
        away, turn = nest * math.sqrt(rng.random()), uniform(rng, 0, 2 * math.pi)
        size = usual * uniform(rng, 0.6, 1.5)
        at = (centre[0] + 1.2 * away * math.cos(turn), centre[1] + away * math.sin(turn))
        stencil.disc(at, size * uniform(rng, 0.85, 1.2), size)
    cover = stencil.finish()
    force = strength(rng)
    strip.tone(-force * np.float32(uniform(rng, 0.6, 0.95)) * blurred(cover, 0.5))
    crescent = lit_edge(cover, strip.sun, max(1, round(usual / 2)))
    strip.tone(force * np.float32(spread(rng, 0.5, 2.2)) * blurred(crescent, 0.5))
    return cover


def scale(rng: np.random.Generator, strip: Strip) -> Array:
    """Oxide that was rolled in: a flaky patch, red brown to black, with near-white flakes and a raised edge."""
    high = spread(rng, 9, 40)
    cover = blob(rng, anywhere(rng, INNER), high * uniform(rng, 1.0, 2.6), high, uniform(rng, 0.12, 0.28), 0.06)
    if chance(rng, 0.6):  # torn open along the strip
        cover = cover * smooth_step(noise(rng, uniform(rng, 25, 60), uniform(rng, 6, 14)), -1.2, -0.8)
    flakes = noise(rng, uniform(rng, 50, 90), uniform(rng, 15, 40)) + 0.5 * cloud(rng, 100)
    force, red = strength(rng), uniform(rng, 0.0, 0.9)
    rust = (0.2 + 0.28 * red, 0.22, 0.23 - 0.06 * red)
    strip.paint(cover * force * np.float32(uniform(rng, 0.6, 0.95)), rust)
    strip.tone(force * np.float32(uniform(rng, 0.2, 0.45)) * flakes * cover)
    strip.paint(cover * smooth_step(flakes, 1.2, 2.2) * force * np.float32(uniform(rng, 0.4, 0.9)), (1.0, 0.95, 0.88))
    strip.tone(-force * np.float32(uniform(rng, 0.4, 0.9)) * cover * smooth_step(-flakes, 1.0, 1.8))
    strip.tone(force * np.float32(uniform(rng, 0.2, 0.9)) * lit_edge(cover, strip.sun, 2))
    return cover


DEFECTS: dict[str, Defect] = {"crack": crack, "inclusion": inclusion, "pit": pit, "scale": scale}
