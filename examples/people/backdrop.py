"""What stands still behind everybody: sky, facades, road and pavement."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from examples.common.drawing import Colour, chance, pick, uniform
from examples.people.brush import clipped, mix, scaled, smooth_noise
from examples.people.props import paint
from examples.people.street import Canvas

WALLS: list[Colour] = [(150, 122, 100), (170, 160, 146), (118, 74, 60), (96, 100, 106), (186, 176, 150)]
GROUNDS: list[Colour] = [(148, 144, 136), (126, 120, 112), (96, 112, 72), (160, 150, 128)]

Pens = tuple[ImageDraw.ImageDraw, ImageDraw.ImageDraw]  # what the day lights, and what shines by itself


def draw_sky(rng: np.random.Generator, canvas: Canvas) -> None:
    view, light = canvas.view, canvas.light
    rows = np.clip(np.linspace(0, view.height / max(view.horizon, 1), view.height, dtype=np.float32), 0, 1)
    top, low = (np.array(c, dtype=np.float32) for c in light.sky)
    canvas.colour[:] = (top + (low - top) * rows[:, None])[:, None, :]
    clouds = np.clip(
        smooth_noise(rng, view.height, view.width, 6) + 0.5 * smooth_noise(rng, view.height, view.width, 17), 0, 2
    )
    canvas.colour += (low * 1.06 - canvas.colour) * (clouds * np.float32(uniform(rng, 0, 0.5)))[..., None]
    if light.kind == "night":
        canvas.glow += canvas.colour * 0.3


def draw_wall(pens: Pens, rng: np.random.Generator, corners: list[float], lit: float) -> None:
    """One facade: `corners` are x0, x1, then top and bottom at x0, then at x1, in pixels; windows follow them.

    `lit` is the share of windows that shine.
    """
    draw, shine = pens
    x0, x1, top0, low0, top1, low1 = corners
    wall = scaled(pick(rng, WALLS), uniform(rng, 0.6, 1.15))
    glass = scaled((70, 84, 98), uniform(rng, 0.5, 1.3))

    def quad(u0: float, v0: float, u1: float, v1: float) -> list[tuple[float, float]]:
        def at(u: float, v: float) -> tuple[float, float]:
            top, low = top0 + (top1 - top0) * u, low0 + (low1 - low0) * u
            return (x0 + (x1 - x0) * u, top + (low - top) * v)

        return [at(u0, v0), at(u1, v0), at(u1, v1), at(u0, v1)]

    draw.polygon(quad(0, 0, 1, 1), fill=clipped(wall))
    cols, rows = max(2, round(abs(x1 - x0) / uniform(rng, 26, 60))), int(rng.integers(3, 7))
    gap_x, gap_y = uniform(rng, 0.2, 0.4), uniform(rng, 0.2, 0.35)
    shop = chance(rng, 0.6)
    for r in range(rows):
        for c in range(cols):
            u, v, du, dv = c / cols, r / rows, 1 / cols, 1 / rows
            if shop and r == rows - 1:
                box = quad(u + du * 0.06, v + dv * 0.25, u + du * 0.94, v + dv * 0.95)
                colour = mix(glass, paint(rng), 0.5)
            else:
                box = quad(u + du * gap_x, v + dv * gap_y, u + du * (1 - gap_x), v + dv * (1 - gap_y))
                colour = scaled(glass, uniform(rng, 0.6, 1.4))
            draw.polygon(box, fill=clipped(colour), outline=clipped(scaled(wall, 0.75)))
            if chance(rng, lit):
                shine.polygon(box, fill=clipped(scaled((230, 190, 120), uniform(rng, 0.3, 0.9))))
    if shop:
        draw.polygon(quad(0, 1 - 1 / rows - 0.01, 1, 1 - 0.8 / rows), fill=clipped(paint(rng)))


def draw_buildings(rng: np.random.Generator, canvas: Canvas, pens: Pens) -> None:
    """A row of far facades, and now and then the two sides of a street."""
    view = canvas.view
    lit = {"night": 0.35, "dusk": 0.2}.get(canvas.light.kind, 0.0)
    hz, vx, w = view.horizon, view.vanish, view.width
    x = -uniform(rng, 0, 60)
    while x < w:  # far facades, parallel to the picture
        step = uniform(rng, 60, 190)
        low = hz + uniform(rng, 1, 5)
        if chance(rng, 0.8):
            top = hz - uniform(rng, 0.25, 1.0) * hz
            draw_wall(pens, rng, [x, x + step, top, low, top, low], lit)
        x += step
    for side in (0, 1):  # the two sides of the street, running towards the vanishing point
        edge = 0.0 if side == 0 else float(w)
        if chance(rng, 0.55) and abs(vx - edge) > 80:
            inner = edge + (vx - edge) * uniform(rng, 0.45, 0.85)
            base = view.ground(view.scale(view.height) * uniform(rng, 0.35, 0.8))
            top = hz - (base - hz) / view.camera_metres * uniform(rng, 6, 14)
            share = (inner - edge) / (vx - edge)
            wall = [edge, inner, top, base, top + (hz - top) * share, base + (hz - base) * share]
            draw_wall(pens, rng, wall, lit)


def draw_ground(rng: np.random.Generator, canvas: Canvas, draw: ImageDraw.ImageDraw) -> None:
    view = canvas.view
    w, h, hz, vx = view.width, view.height, view.horizon, view.vanish
    ground = scaled(pick(rng, GROUNDS), uniform(rng, 0.75, 1.15))
    road = scaled((82, 84, 88), uniform(rng, 0.7, 1.3))
    draw.rectangle((0, hz, w, h), fill=clipped(ground))

    def at(metres: float, y: float) -> tuple[float, float]:
        return (vx + metres * view.scale(y), y)

    def strip(left: float, right: float, y0: float, y1: float, colour: Colour) -> None:
        """Ground from `left` to `right`, in metres beside the vanishing point, between two image rows."""
        draw.polygon([at(left, y0), at(right, y0), at(right, y1), at(left, y1)], fill=clipped(colour))

    near = h + 40.0
    centre, half = uniform(rng, -6, 6), uniform(rng, 2.5, 5)
    strip(centre - half - 0.25, centre + half + 0.25, near, hz, scaled(ground, 1.15))  # the kerb
    strip(centre - half, centre + half, near, hz, road)
    depths = [view.ground(view.scale(near) / (1 + 0.22 * i)) for i in range(40)]
    for a, b in zip(depths[::2], depths[1::2], strict=True):
        strip(centre - 0.07, centre + 0.07, a, b, (206, 204, 192))
    if chance(rng, 0.3):  # a zebra crossing
        y0 = view.ground(view.scale(h) * uniform(rng, 0.3, 0.9))
        y1 = hz + (y0 - hz) * 0.78
        for i in range(int(half * 2 / 0.9)):
            m = centre - half + 0.2 + i * 0.9
            strip(m, m + 0.45, y0, y1, (214, 212, 204))
    if chance(rng, 0.5):  # paving joints
        joint = clipped(scaled(ground, 0.88))
        for y in depths[::3]:
            left, right = at(centre - half - 0.25, y)[0], at(centre + half + 0.25, y)[0]
            draw.line((0, y, max(0.0, left), y), fill=joint)
            draw.line((min(float(w), right), y, w, y), fill=joint)


def draw_backdrop(rng: np.random.Generator, canvas: Canvas) -> None:
    """Sky, buildings, road and pavement, with dirt on everything below the roofs."""
    view = canvas.view
    draw_sky(rng, canvas)
    image = Image.fromarray(canvas.colour.clip(0, 255).astype(np.uint8))
    shine = Image.new("RGB", image.size)
    draw = ImageDraw.Draw(image)
    draw_buildings(rng, canvas, (draw, ImageDraw.Draw(shine)))
    draw_ground(rng, canvas, draw)
    ImageDraw.Draw(shine).rectangle((0, view.horizon + 6, view.width, view.height), fill=(0, 0, 0))
    canvas.colour[:] = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)
    canvas.glow += np.asarray(shine, dtype=np.float32)
    dirt = smooth_noise(rng, view.height, view.width, 8) + smooth_noise(rng, view.height, view.width, 60)
    canvas.colour *= (1 + np.float32(uniform(rng, 0.02, 0.07)) * dirt)[..., None]
