"""What else stands in a street: vehicles, poles, trees and street furniture, some of it shaped a little like people.

Every function draws one object into a sprite (see `brush`), given pixels per metre at its distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from examples.common.drawing import Array, Colour, Point, chance, pick, uniform
from examples.people.brush import Brush, mix, scaled
from examples.people.figures import (
    BRIGHTS,
    DARKS,
    LIGHTS,
    SKINS,
    cloth,
    draw_head,
    draw_torso,
    random_look,
    random_pose,
    render_bust,
)

Prop = Callable[[np.random.Generator, float, float], Array]


def paint(rng: np.random.Generator) -> Colour:
    return scaled(pick(rng, pick(rng, [DARKS, LIGHTS, BRIGHTS])), uniform(rng, 0.7, 1.2))


def car(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A car or van from the side, about 4.4 m long."""
    van = chance(rng, 0.25)
    h = 2.1 if van else uniform(rng, 1.4, 1.65)
    body, dark = paint(rng), (30.0, 32.0, 36.0)
    brush = Brush(5.0, 2.4, metre)
    brush.slab(-2.2, 0.28, 2.2, 0.95, body, 0.18)
    roof: list[Point] = (
        [(-1.9, 0.9), (-1.6, h), (1.2, h), (2.1, 0.9)] if van else [(-1.8, 0.9), (-1.1, h), (0.7, h), (1.4, 0.9)]
    )
    brush.poly(roof, body)
    glass = scaled((92, 108, 122), uniform(rng, 0.4, 1.2))
    windows: list[list[Point]] = [
        [(-1.5, 0.98), (-1.0, h - 0.1), (-0.2, h - 0.1), (-0.2, 0.98)],
        [(-0.1, 0.98), (-0.1, h - 0.1), (0.6, h - 0.1), (1.15, 0.98)],
    ]
    for window in windows[1:] if van else windows:
        brush.poly(window, glass)
    for x in (-1.35, 1.35):
        brush.disc((x, 0.32), 0.33, 0.33, dark)
        brush.disc((x, 0.32), 0.18, 0.18, (140, 142, 146))
    brush.slab(2.02, 0.62, 2.2, 0.78, (240, 236, 210))
    brush.slab(-2.2, 0.62, -2.05, 0.8, (170, 30, 30))
    brush.line([(-0.15, 0.35), (-0.15, 0.95)], 0.02, scaled(body, 0.6))
    sprite = brush.finish(rng, light * 0.4, 0.03)
    return sprite[:, ::-1].copy() if chance(rng, 0.5) else sprite


def car_end(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A car from behind or in front, 1.8 m wide."""
    body = paint(rng)
    rear = chance(rng, 0.5)
    brush = Brush(2.2, 1.7, metre)
    for x in (-0.75, 0.55):
        brush.slab(x, 0.0, x + 0.22, 0.4, (26, 26, 28))
    brush.slab(-0.9, 0.22, 0.9, 0.98, body, 0.14)
    brush.poly([(-0.82, 0.9), (-0.62, 1.48), (0.62, 1.48), (0.82, 0.9)], body)
    brush.poly([(-0.7, 0.96), (-0.54, 1.4), (0.54, 1.4), (0.7, 0.96)], scaled((80, 94, 108), uniform(rng, 0.4, 1.2)))
    lamp: Colour = (190, 30, 26) if rear else (244, 240, 220)
    for x in (-0.86, 0.6):
        brush.slab(x, 0.64, x + 0.26, 0.82, lamp, 0.03)
    brush.slab(-0.26, 0.4, 0.26, 0.52, (220, 220, 210))
    return brush.finish(rng, light * 0.4, 0.03)


def tree(rng: np.random.Generator, metre: float, light: float) -> Array:
    h, r = uniform(rng, 4.0, 7.0), uniform(rng, 0.12, 0.24)
    bark = scaled(pick(rng, [(84, 66, 50), (104, 92, 78), (58, 50, 44)]), uniform(rng, 0.8, 1.2))
    leaf = scaled(pick(rng, [(62, 92, 46), (86, 108, 52), (50, 76, 50), (150, 112, 48)]), uniform(rng, 0.7, 1.15))
    brush = Brush(5.0, h + 1.2, metre)
    brush.limb((0, 0), (uniform(rng, -0.2, 0.2), h * 0.62), r * 1.25, r * 0.7, bark)
    for side in (-1, 1):
        brush.limb((0, h * 0.45), (side * 1.1, h * 0.75), r * 0.5, r * 0.2, bark)
    if chance(rng, 0.8):
        for _ in range(150):
            x, y = rng.standard_normal(2) * np.array([0.85, 0.6])
            size = uniform(rng, 0.08, 0.3)
            brush.disc((float(x), h * 0.78 + float(y)), size, size * 0.8, scaled(leaf, uniform(rng, 0.55, 1.35)))
    return brush.finish(rng, light, 0.1)


def trunk(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A bare, leaning trunk of about a person's height, sometimes forked: upright and coloured like clothes."""
    h = uniform(rng, 1.1, 2.0)
    bark = mix(pick(rng, [(84, 66, 50), (104, 92, 78)]), cloth(rng), 0.35)
    brush = Brush(1.6, 2.4, metre)
    brush.limb((0, 0.1), (uniform(rng, -0.15, 0.15), h), uniform(rng, 0.16, 0.28), 0.13, bark)
    if chance(rng, 0.5):
        brush.limb((0, h * 0.6), (0.4, h * 0.95), 0.08, 0.04, bark)
    return brush.finish(rng, light, 0.12)


def lamp(rng: np.random.Generator, metre: float, light: float) -> Array:
    grey = scaled((86, 88, 92), uniform(rng, 0.5, 1.2))
    brush = Brush(2.4, 5.4, metre)
    brush.limb((0, 0), (0, 4.9), 0.09, 0.05, grey)
    brush.line([(0, 4.9), (0.8, 5.1)], 0.07, grey)
    brush.slab(0.6, 5.02, 1.05, 5.14, (226, 220, 190))
    return brush.finish(rng, light, 0.02)


def sign(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A round, square or triangular sign on a pole: a head on a thin body."""
    h = uniform(rng, 1.5, 2.3)
    brush = Brush(1.2, 2.8, metre)
    brush.slab(-0.035, 0, 0.035, h, (126, 128, 130))
    face = pick(rng, [*BRIGHTS, (228, 226, 220), *SKINS[:3]])
    kind = pick(rng, ["round", "square", "triangle"])
    if kind == "round":
        brush.disc((0, h), 0.3, 0.3, (196, 36, 36))
        brush.disc((0, h), 0.22, 0.22, face)
    elif kind == "square":
        brush.slab(-0.28, h - 0.3, 0.28, h + 0.28, face, 0.03)
    else:
        brush.poly([(-0.34, h - 0.25), (0.34, h - 0.25), (0, h + 0.34)], (200, 40, 36))
        brush.poly([(-0.22, h - 0.18), (0.22, h - 0.18), (0, h + 0.2)], (236, 234, 226))
    if chance(rng, 0.3):
        brush.slab(-0.25, h - 0.62, 0.25, h - 0.4, (226, 226, 222))
    return brush.finish(rng, light, 0.02)


def hydrant(rng: np.random.Generator, metre: float, light: float) -> Array:
    red = scaled(pick(rng, [(176, 42, 36), (206, 172, 44), (70, 90, 150)]), uniform(rng, 0.7, 1.1))
    brush = Brush(0.8, 1.1, metre)
    brush.slab(-0.2, 0, 0.2, 0.08, scaled(red, 0.8))
    brush.slab(-0.14, 0, 0.14, 0.66, red)
    brush.disc((0, 0.68), 0.16, 0.16, red)
    for x in (-0.2, 0.2):
        brush.disc((x, 0.46), 0.08, 0.08, scaled(red, 0.85))
    return brush.finish(rng, light)


def bollard(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A post with a ball on top, or a parking meter: the outline of a very simple person."""
    h = uniform(rng, 0.8, 1.6)
    body = mix(paint(rng), cloth(rng), 0.5)
    brush = Brush(0.9, 2.0, metre)
    brush.limb((0, 0.05), (0, h - 0.2), uniform(rng, 0.06, 0.2), uniform(rng, 0.05, 0.17), body)
    brush.disc((0, h), 0.13, 0.16, pick(rng, [body, (200, 198, 190), *SKINS[:4]]))
    return brush.finish(rng, light)


def dustbin(rng: np.random.Generator, metre: float, light: float) -> Array:
    body = scaled(pick(rng, [(52, 84, 60), (60, 62, 66), (44, 62, 100), (92, 74, 54)]), uniform(rng, 0.7, 1.2))
    brush = Brush(1.0, 1.4, metre)
    brush.poly([(-0.26, 0), (-0.32, 0.95), (0.32, 0.95), (0.26, 0)], body)
    brush.slab(-0.35, 0.93, 0.35, 1.06, scaled(body, 0.7), 0.04)
    return brush.finish(rng, light)


def dog(rng: np.random.Generator, metre: float, light: float) -> Array:
    coat = scaled(pick(rng, [(60, 44, 34), (150, 116, 76), (36, 34, 34), (206, 198, 184)]), uniform(rng, 0.8, 1.2))
    brush = Brush(1.6, 1.1, metre)
    for x in (-0.34, -0.24, 0.24, 0.34):
        brush.limb((x, 0.4), (x + uniform(rng, -0.1, 0.1), 0.04), 0.055, 0.035, scaled(coat, 0.85))
    brush.limb((-0.33, 0.46), (0.33, 0.5), 0.13, 0.15, coat)
    brush.limb((0.36, 0.54), (0.5, 0.72), 0.09, 0.08, coat)
    brush.limb((0.5, 0.74), (0.66, 0.7), 0.1, 0.05, coat)
    brush.limb((-0.42, 0.52), (-0.62, 0.74), 0.04, 0.02, coat)
    sprite = brush.finish(rng, light)
    return sprite[:, ::-1].copy() if chance(rng, 0.5) else sprite


def dummy(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A shop dummy on a stand, or a stone bust on a plinth."""
    return render_bust(rng, metre * uniform(rng, 1.5, 1.8), light, grey=chance(rng, 0.4))


def poster(rng: np.random.Generator, metre: float, light: float) -> Array:
    """A lit display with a picture of a person down to the waist: the labels call only whole people people."""
    look, pose = random_look(rng), random_pose(rng)
    brush = Brush(1.6, 2.4, metre)
    brush.slab(-0.62, 0.1, 0.62, 2.2, (48, 50, 54))
    ground = scaled(paint(rng), 1.2)
    brush.slab(-0.55, 0.5, 0.55, 2.13, ground)
    size = uniform(rng, 0.55, 0.8)
    inner = Brush(1.6, 2.4, metre)
    inner.k *= size * 3.4
    inner.base = brush.base + 0.45 * (inner.k - brush.k)
    draw_torso(inner, (0, 0.45), (0, 0.8), pose, look)
    draw_head(inner, (0, 0.8), pose, look)
    top, bottom = brush.xy((0, 2.13))[1], brush.xy((0, 0.5))[1]
    left, right = brush.xy((-0.55, 0))[0], brush.xy((0.55, 0))[0]
    box = (round(left), round(top), round(right), round(bottom))
    picture = inner.image.crop(box)
    brush.image.alpha_composite(picture, (max(0, box[0]), max(0, box[1])))
    brush.slab(-0.55, 0.3, 0.55, 0.62, mix(ground, (240, 240, 240), 0.6))
    return brush.finish(rng, light * 0.3, 0.02)


def bench(rng: np.random.Generator, metre: float, light: float) -> Array:
    wood = scaled((120, 88, 56), uniform(rng, 0.6, 1.2))
    brush = Brush(2.2, 1.0, metre)
    for x in (-0.8, 0.74):
        brush.slab(x, 0, x + 0.07, 0.85, (50, 50, 52))
    for y in (0.42, 0.58, 0.72):
        brush.slab(-0.95, y, 0.95, y + 0.09, wood)
    return brush.finish(rng, light)


def hedge(rng: np.random.Generator, metre: float, light: float) -> Array:
    leaf = scaled(pick(rng, [(52, 82, 42), (70, 92, 48), (44, 66, 46)]), uniform(rng, 0.6, 1.15))
    h, w = uniform(rng, 0.6, 1.3), uniform(rng, 1.2, 3.0)
    brush = Brush(w + 0.8, h + 0.6, metre)
    brush.slab(-w / 2, 0, w / 2, h, leaf, 0.1)
    for _ in range(40):
        size = uniform(rng, 0.1, 0.3)
        brush.disc(
            (uniform(rng, -w / 2, w / 2), uniform(rng, 0.1, h)), size, size, scaled(leaf, uniform(rng, 0.65, 1.3))
        )
    return brush.finish(rng, light, 0.12)


def fence(rng: np.random.Generator, metre: float, light: float) -> Array:
    """Railings: people behind them show through the gaps."""
    grey = scaled((92, 94, 96), uniform(rng, 0.4, 1.4))
    w, h = uniform(rng, 2.0, 5.0), uniform(rng, 0.8, 1.2)
    brush = Brush(w + 0.2, h + 0.2, metre)
    for y in (0.15, h):
        brush.slab(-w / 2, y, w / 2, y + 0.05, grey)
    for i in range(int(w / 0.16)):
        x = -w / 2 + i * 0.16
        brush.slab(x, 0, x + 0.03, h, grey)
    return brush.finish(rng, light, 0.02)


def kiosk(rng: np.random.Generator, metre: float, light: float) -> Array:
    body = paint(rng)
    brush = Brush(3.0, 3.0, metre)
    brush.slab(-1.2, 0, 1.2, 2.4, body)
    brush.slab(-1.0, 1.0, 1.0, 2.0, scaled((70, 80, 90), uniform(rng, 0.5, 1.4)))
    brush.slab(-1.4, 2.35, 1.4, 2.6, scaled(body, 0.7))
    for i in range(6):
        brush.slab(-0.95 + i * 0.32, 1.02, -0.7 + i * 0.32, uniform(rng, 1.2, 1.7), cloth(rng))
    return brush.finish(rng, light * 0.5, 0.04)


def umbrella(rng: np.random.Generator, metre: float, light: float) -> Array:
    """Drawn over a person's head; its own object, so it hides what it covers."""
    colour = cloth(rng)
    brush = Brush(1.3, 2.4, metre)
    brush.slab(-0.012, 1.05, 0.012, 1.9, (40, 40, 42))
    arc = [(0.55 * float(np.cos(t)), 1.75 + 0.34 * float(np.sin(t))) for t in np.linspace(0, np.pi, 18)]
    brush.poly(arc, colour)
    for x in (-0.2, 0.2):
        brush.line([(0, 2.08), (x, 1.76)], 0.012, scaled(colour, 0.7))
    return brush.finish(rng, light)


DISTRACTORS: list[Prop] = [dummy, dummy, poster, sign, sign, hydrant, bollard, bollard, trunk, dustbin, dog, dog]
FURNITURE: list[Prop] = [car, car, car_end, tree, tree, lamp, bench, hedge, fence, kiosk, bollard]
