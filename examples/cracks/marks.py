"""What is on concrete and is no crack, in pictures of both classes: the same chances, whatever the label."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from examples.common.drawing import Array, Colour, Point, Stencil, blurred, chance, pick, smooth_step, spread, uniform
from examples.cracks.brush import SHEET, along, anywhere, cloud, curve, distance, drawn_out
from examples.cracks.concrete import Surface

RUST: tuple[Colour, ...] = ((0.48, 0.27, 0.13), (0.58, 0.36, 0.2), (0.36, 0.22, 0.14))
PAINT: tuple[Colour, ...] = (
    (0.8, 0.16, 0.12),
    (0.2, 0.35, 0.7),
    (0.92, 0.92, 0.9),
    (0.15, 0.15, 0.16),
    (0.9, 0.75, 0.2),
)

Mark = Callable[[np.random.Generator, Surface], None]


def blob(rng: np.random.Generator, centre: Point, radius: float, ragged: float, soft: float) -> Array:
    """(SIDE, SIDE) 0..1: a patch about `radius` pixels wide each way whose edge wanders by `ragged` of that."""
    edge = distance(centre) + np.float32(radius * ragged) * (
        cloud(rng, 5) + 0.5 * cloud(rng, 14) + 0.25 * cloud(rng, 40)
    )
    return 1 - smooth_step(edge, radius * (1 - soft), radius * (1 + soft))


def crossing(rng: np.random.Generator, angle: float) -> list[Point]:
    """A straight line right across the picture in direction `angle`."""
    (x, y), dx, dy = anywhere(rng, 20), math.cos(angle), math.sin(angle)
    return [(x - 400 * dx, y - 400 * dy), (x + 400 * dx, y + 400 * dy)]


def upright(rng: np.random.Generator) -> float:
    """A direction in radians near the horizontal or the vertical, or, one in four, any."""
    if chance(rng, 0.25):
        return uniform(rng, 0, math.pi)
    return pick(rng, [0.0, math.pi / 2]) + uniform(rng, -0.12, 0.12)


def stain(rng: np.random.Generator, surface: Surface) -> None:
    """Oil, damp or moss: a soft patch, darker or lighter."""
    for _ in range(1 + int(rng.geometric(0.6)) % 4):
        cover = blob(rng, anywhere(rng), spread(rng, 6, 90), uniform(rng, 0.15, 0.5), uniform(rng, 0.05, 0.6))
        surface.tone(np.float32(uniform(rng, -0.35, 0.12)) * cover * (0.8 + 0.2 * cloud(rng, 30)))


def joint(rng: np.random.Generator, surface: Surface) -> None:
    """Where two boards of the formwork met, or a sawn joint: straight lines, dark, or a ridge with a shadow."""
    angle, width = upright(rng), spread(rng, 0.7, 6.0)
    for _ in range(1 if chance(rng, 0.7) else 2):
        stencil = Stencil(SHEET)
        stencil.line(crossing(rng, angle), width)
        cover = stencil.finish() * (0.85 + 0.25 * cloud(rng, uniform(rng, 8, 60))).clip(0, 1)
        surface.relief += np.float32(uniform(rng, -0.9, 0.7)) * blurred(cover, uniform(rng, 0.6, 1.4))
        surface.tone(-np.float32(uniform(rng, 0.05, 0.85)) * cover)
        angle += math.pi / 2 if chance(rng, 0.5) else 0.0


def cold_joint(rng: np.random.Generator, surface: Surface) -> None:
    """Two pours of concrete: an uneven border between two tones, with or without a step."""
    angle = upright(rng) + math.pi / 2
    place = along(angle) + np.float32(uniform(rng, -70, 70))
    place = place + np.float32(uniform(rng, 2, 14)) * cloud(rng, uniform(rng, 2, 7)) + 1.5 * cloud(rng, 40)
    side = smooth_step(place, -uniform(rng, 0.6, 4), uniform(rng, 0.6, 4))
    surface.tone(np.float32(uniform(rng, -0.2, 0.2)) * side)
    surface.relief += np.float32(uniform(rng, -1.2, 1.2)) * side


def flaked(rng: np.random.Generator, surface: Surface) -> None:
    """A skin of cement that came off: an irregular patch, rougher, with a step around it."""
    cover = blob(rng, anywhere(rng), spread(rng, 8, 60), uniform(rng, 0.25, 0.6), uniform(rng, 0.02, 0.06))
    surface.relief -= np.float32(uniform(rng, 0.4, 2.0)) * cover
    surface.relief += np.float32(uniform(rng, 0.05, 0.2)) * cover * cloud(rng, uniform(rng, 40, 90))
    surface.tone(np.float32(uniform(rng, -0.25, 0.1)) * cover)


def holes(rng: np.random.Generator, surface: Surface) -> None:
    """Large bug holes, tie holes and honeycomb: dark, round, some in a row or in a nest."""
    centre, nest = anywhere(rng), spread(rng, 8, 60)
    stencil = Stencil(SHEET)
    for _ in range(int(spread(rng, 1, 16))):
        size = spread(rng, 1.5, 7.0)
        at = (centre[0] + nest * float(rng.standard_normal()), centre[1] + nest * float(rng.standard_normal()))
        stencil.disc(at, size, size * uniform(rng, 0.6, 1.0), uniform(rng, 0.6, 1.0))
    cover = stencil.finish()
    surface.relief -= np.float32(uniform(rng, 0.6, 1.6)) * blurred(cover, 1.2)
    surface.tone(-np.float32(uniform(rng, 0.3, 0.9)) * blurred(cover, 0.7))


def shadow(rng: np.random.Generator, surface: Surface) -> None:
    """Of something outside the picture: an edge, a beam, or a cable, which is thin, dark and nearly straight."""
    dark = np.float32(uniform(rng, 0.2, 0.6))
    if chance(rng, 0.45):
        stencil = Stencil(SHEET)
        start = anywhere(rng, 40)
        heading = uniform(rng, 0, 2 * math.pi)
        for way in (heading, heading + math.pi):
            stencil.line(curve(rng, start, way, 300, uniform(rng, 0.0, 0.5)), spread(rng, 1.5, 9.0))
        surface.shade(1 - dark * blurred(stencil.finish(), uniform(rng, 0.8, 2.5)))
        return
    soft, place = spread(rng, 1.5, 40), along(uniform(rng, 0, 2 * math.pi)) + np.float32(uniform(rng, -80, 80))
    near = smooth_step(place, -soft, soft)
    far = 1 - smooth_step(place, 25 - soft, 25 + spread(rng, 20, 60)) if chance(rng, 0.3) else np.float32(1)
    surface.shade(1 - dark * near * far)


def scratches(rng: np.random.Generator, surface: Surface) -> None:
    """Straight or slightly bent, thin, mostly lighter than the ground, alone or side by side."""
    angle, tone = uniform(rng, 0, math.pi), uniform(rng, 0.1, 0.4) * pick(rng, [1, 1, -1])
    stencil = Stencil(SHEET)
    (x, y), count = anywhere(rng, 30), 1 + int(rng.geometric(0.45)) % 8
    for _ in range(count):
        points = curve(rng, (x, y), angle + uniform(rng, -0.08, 0.08), spread(rng, 20, 240), uniform(rng, 0, 0.6))
        stencil.line(points, spread(rng, 0.5, 1.8), uniform(rng, 0.4, 1.0))
        x, y = x + uniform(rng, -14, 14), y + uniform(rng, -14, 14)
    cover = stencil.finish() * (0.75 + 0.4 * cloud(rng, 40)).clip(0, 1)
    surface.relief -= np.float32(uniform(rng, 0.0, 0.5)) * cover
    surface.tone(np.float32(tone) * cover)


def streaks(rng: np.random.Generator, surface: Surface) -> None:
    """Water that ran down: longish bands, dark, or light where it left lime."""
    angle = pick(rng, [0.0, math.pi / 2]) + uniform(rng, -0.1, 0.1)
    bands = drawn_out(rng, uniform(rng, 8, 30), uniform(rng, 0.5, 1.2), angle) + 0.5 * drawn_out(rng, 60, 1, angle)
    bands = smooth_step(bands, uniform(rng, -0.6, 0.3), uniform(rng, 1.0, 2.0))
    fade = smooth_step(along(angle) + np.float32(uniform(rng, -60, 60)), -90, 60)
    surface.tone(np.float32(uniform(rng, 0.08, 0.35) * pick(rng, [-1, -1, 1])) * bands * fade)


def paint(rng: np.random.Generator, surface: Surface) -> None:
    """A sprayed mark, or splashes."""
    colour, stencil = pick(rng, PAINT), Stencil(SHEET)
    if chance(rng, 0.4):
        for _ in range(int(spread(rng, 2, 40))):
            stencil.disc(anywhere(rng), spread(rng, 0.6, 5.0), cover=uniform(rng, 0.5, 1.0))
    else:
        points = curve(rng, anywhere(rng), uniform(rng, 0, 2 * math.pi), uniform(rng, 40, 320), uniform(rng, 0.2, 2.5))
        stencil.line(points, spread(rng, 3, 20))
    worn = (0.7 + 0.35 * cloud(rng, 30)).clip(0, 1)
    surface.paint(
        blurred(stencil.finish(), uniform(rng, 0.6, 2.5)) * worn * np.float32(uniform(rng, 0.3, 0.95)), colour
    )


def writing(rng: np.random.Generator, surface: Surface) -> None:
    """A pencil's, marker's or chalk's line: thin, smooth, of one width."""
    colour = pick(rng, [(0.16, 0.16, 0.18), (0.3, 0.3, 0.33), (0.93, 0.93, 0.9), (0.25, 0.3, 0.5)])
    stencil = Stencil(SHEET)
    for _ in range(1 + int(rng.geometric(0.6)) % 4):
        bend = uniform(rng, 0, 3.0) if chance(rng, 0.6) else 0.0
        points = curve(rng, anywhere(rng), uniform(rng, 0, 2 * math.pi), uniform(rng, 40, 260), bend)
        stencil.line(points, spread(rng, 0.8, 3.0))
    worn = (0.8 + 0.4 * cloud(rng, 70)).clip(0, 1)
    surface.paint(stencil.finish() * worn * np.float32(uniform(rng, 0.3, 0.8)), colour)


def fibres(rng: np.random.Generator, surface: Surface) -> None:
    """Hairs, straws, dry roots and spiders' threads that lie on it: smooth, thin, with a shadow of their own."""
    stencil = Stencil(SHEET)
    for _ in range(1 + int(rng.geometric(0.5)) % 5):
        points = curve(rng, anywhere(rng), uniform(rng, 0, 2 * math.pi), spread(rng, 25, 200), uniform(rng, 0.5, 4.0))
        stencil.line(points, spread(rng, 0.6, 1.6))
    cover = stencil.finish()
    surface.tone(-np.float32(uniform(rng, 0.05, 0.3)) * blurred(np.roll(cover, (2, 1), (0, 1)), 0.8))
    colour = pick(rng, [(0.2, 0.17, 0.14), (0.45, 0.38, 0.28), (0.8, 0.74, 0.6), (0.85, 0.85, 0.85)])
    surface.paint(cover * np.float32(uniform(rng, 0.4, 0.9)), colour)


def rust(rng: np.random.Generator, surface: Surface) -> None:
    """Over a reinforcing bar: a brown patch, or a band with the bar's line, and what ran down from it."""
    colour = pick(rng, RUST)
    if chance(rng, 0.5):
        cover = blob(rng, anywhere(rng), spread(rng, 4, 45), uniform(rng, 0.2, 0.5), uniform(rng, 0.2, 0.7))
    else:
        stencil = Stencil(SHEET)
        stencil.line(crossing(rng, upright(rng)), spread(rng, 2, 14))
        cover = blurred(stencil.finish(), uniform(rng, 1.5, 5.0))
    run = drawn_out(rng, uniform(rng, 10, 25), 1.0, math.pi / 2)
    cover = cover * (0.6 + 0.4 * cloud(rng, 20) + 0.3 * run).clip(0, 1)
    surface.paint(cover * np.float32(uniform(rng, 0.25, 0.9)), colour)


def patches(rng: np.random.Generator, surface: Surface) -> None:
    """Dirt or algae in a texture of spots, as on weathered slabs."""
    spots = smooth_step(cloud(rng, uniform(rng, 8, 20)) + 0.5 * cloud(rng, 40), uniform(rng, 0.4, 1.0), 1.6)
    where = smooth_step(cloud(rng, 2), -0.5, 1.0)
    surface.tone(-np.float32(uniform(rng, 0.15, 0.5)) * spots * where)


def pebbles(rng: np.random.Generator, surface: Surface) -> None:
    """Loose grains and chips: light, with a shadow."""
    stencil = Stencil(SHEET)
    for _ in range(int(spread(rng, 1, 14))):
        (x, y), size = anywhere(rng), spread(rng, 1.0, 5.0)
        turns = sorted(uniform(rng, 0, 2 * math.pi) for _ in range(7))
        stencil.polygon([(x + size * math.cos(t), y + size * uniform(rng, 0.6, 1.0) * math.sin(t)) for t in turns])
    cover = stencil.finish()
    dx, dy = round(-2 * math.cos(surface.sun)), round(-2 * math.sin(surface.sun))
    surface.shade(1 - np.float32(0.45) * blurred(np.roll(cover, (dy, dx), (0, 1)), 0.8))
    light = uniform(rng, 0.75, 0.97)
    surface.paint(blurred(cover, 0.5), (light, light * 0.97, light * 0.9))


# The likelier ones stand more than once: those that look most like a crack, and those that every wall has.
MARKS: tuple[Mark, ...] = (
    stain,
    stain,
    joint,
    joint,
    cold_joint,
    flaked,
    holes,
    shadow,
    shadow,
    scratches,
    scratches,
    streaks,
    paint,
    writing,
    fibres,
    rust,
    patches,
    pebbles,
)


def random_marks(rng: np.random.Generator) -> list[Mark]:
    """None for one surface in five, else one to four."""
    count = 0 if chance(rng, 0.2) else 1 + int(rng.geometric(0.55) - 1) % 4
    return [pick(rng, MARKS) for _ in range(count)]
