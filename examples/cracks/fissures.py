"""Cracks: random walks that branch, with a width that varies, drawn as gaps with dark ground and broken edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from examples.common.drawing import Array, Point, Stencil, blurred, chance, pick, spread, uniform
from examples.cracks.brush import SHEET, SIDE, anywhere, cloud
from examples.cracks.concrete import Surface

STEP = 2.5  # pixels between two points of a walk
LEAST = 26  # points of a walk inside the picture: about 65 pixels of crack, or it is walked again
BORDER = 8.0  # pixels that count as outside, so that no crack shows at the very edge alone


@dataclass(frozen=True)
class Walk:
    """`points` (n, 2) are x and y in pixels; `widths` (n,) pixels across, 0 where the crack is bridged."""

    points: Array
    widths: Array


@dataclass(frozen=True)
class Habit:
    """What the cracks of a picture have in common.

    `width` in pixels; `depth` is the share of light that the ground loses; `wander` and `jag` are slow and sudden
    changes of direction in radians; `branches` is how many leave a walk of 100 points.
    """

    width: float
    depth: float
    wander: float
    jag: float
    branches: float
    gaps: float


def random_habit(rng: np.random.Generator) -> Habit:
    """Three in ten are open, three fine, four hairlines; thin ones are also faint."""
    kind = rng.random()
    jag, gaps = uniform(rng, 0.12, 0.5), uniform(rng, 0.0, 0.25) if chance(rng, 0.4) else 0.0
    if kind < 0.3:
        jag *= 0.8
        return Habit(spread(rng, 3.0, 24.0), uniform(rng, 0.6, 0.95), uniform(rng, 0.03, 0.09), jag, 0.5, gaps / 3)
    if kind < 0.6:
        return Habit(spread(rng, 1.3, 3.2), uniform(rng, 0.35, 0.85), uniform(rng, 0.05, 0.14), jag, 1.2, gaps)
    return Habit(spread(rng, 0.6, 1.4), uniform(rng, 0.3, 0.7), uniform(rng, 0.05, 0.16), jag, 1.5, gaps)


def inside(points: Array) -> int:
    """How many of the points (n, 2) lie well inside the picture."""
    return int(((points > BORDER) & (points < SIDE - BORDER)).all(axis=1).sum())


def slow_noise(rng: np.random.Generator, count: int, memory: float) -> Array:
    """(count,) values of unit variance, each keeping the share `memory` of the one before."""
    values, now, fresh = np.empty(count, dtype=np.float32), float(rng.standard_normal()), math.sqrt(1 - memory**2)
    for i in range(count):
        now = memory * now + fresh * float(rng.standard_normal())
        values[i] = now
    return values


def walk(rng: np.random.Generator, start: Point, heading: float, length: float, width: float, habit: Habit) -> Walk:
    """From `start` in direction `heading` (radians) for `length` pixels, narrower toward the end."""
    count = max(4, round(length / STEP))
    turns = heading + habit.wander * 6 * slow_noise(rng, count, 0.95) + habit.jag * slow_noise(rng, count, 0.45)
    steps = STEP * np.stack((np.cos(turns), np.sin(turns)), 1)
    points = np.array(start, dtype=np.float32) + np.cumsum(steps, axis=0, dtype=np.float32)
    widths = width * np.exp(0.3 * slow_noise(rng, count, 0.9) - 0.05)
    widths *= np.minimum(1, np.linspace(2.5, 0.15, count, dtype=np.float32))
    widths[slow_noise(rng, count, 0.85) > 2.4 - 6 * habit.gaps] *= 0.12
    return Walk(points, widths.astype(np.float32))


def branches(rng: np.random.Generator, stem: Walk, habit: Habit, depth: int) -> list[Walk]:
    """`stem` and what leaves it, to the second generation."""
    found = [stem]
    if depth == 0:
        return found
    for _ in range(int(rng.poisson(habit.branches * len(stem.points) / 100))):
        at = int(rng.integers(1, len(stem.points)))
        away = stem.points[at] - stem.points[at - 1]
        heading = math.atan2(float(away[1]), float(away[0])) + pick(rng, [-1, 1]) * uniform(rng, 0.3, 1.3)
        width = max(0.5, float(stem.widths[at]) * uniform(rng, 0.35, 0.85))
        x, y = stem.points[at]
        side = walk(rng, (float(x), float(y)), heading, spread(rng, 18, 130), width, habit)
        found += branches(rng, side, habit, depth - 1)
    return found


def random_walks(rng: np.random.Generator, habit: Habit) -> list[Walk]:
    """One crack with its branches, sometimes a second beside it; the first shows for 65 pixels or more."""
    found: list[Walk] = []
    for _ in range(1 if chance(rng, 0.85) else 2):
        while True:
            stem = random_stem(rng, habit)
            if inside(stem.points) >= LEAST:
                break
        found += branches(rng, stem, habit, 2)
    return found


def random_stem(rng: np.random.Generator, habit: Habit) -> Walk:
    """Three in four come in over the border and mostly go out again; the others begin and end inside."""
    target = anywhere(rng, 0.25 * SIDE)
    if chance(rng, 0.75):
        along, across = uniform(rng, 0, SIDE), pick(rng, [-6.0, SIDE + 6.0])
        start = (along, across) if chance(rng, 0.5) else (across, along)
        length = uniform(rng, 260, 420) if chance(rng, 0.75) else uniform(rng, 110, 220)
    else:
        start, length = anywhere(rng, 0.15 * SIDE), uniform(rng, 80, 170)
    heading = math.atan2(target[1] - start[1], target[0] - start[0])
    return walk(rng, start, heading, length, habit.width, habit)


def normals(points: Array) -> Array:
    """(n, 2) unit vectors across the walk."""
    along = np.gradient(points, axis=0)
    across = np.stack((-along[:, 1], along[:, 0]), 1)
    return np.asarray(across / np.maximum(np.hypot(across[:, :1], across[:, 1:]), 1e-6), dtype=np.float32)


def gap(rng: np.random.Generator, walks: list[Walk], share: float, roughness: float) -> Array:
    """(SIDE, SIDE) coverage of the walks at `share` of their width, each edge broken on its own."""
    stencil = Stencil(SHEET)
    for one in walks:
        count, half = len(one.points), one.widths[:, None] * np.float32(share / 2)
        chips = [1 + roughness * slow_noise(rng, count, 0.5)[:, None].clip(-2, 2) for _ in range(2)]
        across = normals(one.points)
        left, right = one.points + across * half * chips[0], one.points - across * half * chips[1]
        for i in np.flatnonzero((one.widths[:-1] > 0.2) & (one.widths[1:] > 0.2)):
            corners = (left[i], left[i + 1], right[i + 1], right[i])
            stencil.polygon([(float(x), float(y)) for x, y in corners])
    return stencil.finish()


def crack(rng: np.random.Generator, surface: Surface) -> None:
    """Open the surface along random walks. Wide cracks show a wall on one side; some have lime or dirt along them."""
    habit = random_habit(rng)
    walks = random_walks(rng, habit)
    whole = gap(rng, walks, 1.0, 0.35)
    if chance(rng, 0.12):  # lime that seeped out
        surface.tone(np.float32(uniform(rng, 0.06, 0.25)) * halo(rng, whole, uniform(rng, 2.0, 6.0)))
    elif chance(rng, 0.3):  # dirt that gathered
        surface.tone(-np.float32(uniform(rng, 0.04, 0.22)) * halo(rng, whole, uniform(rng, 1.5, 5.0)))
    lip = np.float32(uniform(rng, 0.2, 1.0) * min(1.0, 0.25 + habit.width / 8))
    surface.relief -= lip * blurred(whole, 0.8 + 0.06 * habit.width)
    depth = np.float32(habit.depth) * (1 + np.float32(0.15) * cloud(rng, 14)).clip(0.3, 1.1)
    if habit.width < 3:
        surface.tone(-depth * whole)
        return
    wall = np.float32(uniform(rng, 0.2, 0.75))
    surface.tone(-wall * depth * whole)
    core = gap(rng, walks, uniform(rng, 0.4, 0.85), 0.3)
    shift = habit.width * uniform(rng, 0.0, 0.3)
    dx, dy = round(shift * math.cos(surface.sun)), round(shift * math.sin(surface.sun))
    core = np.minimum(np.roll(core, (dy, dx), (0, 1)), whole)
    surface.tone(-depth * blurred(core, 0.6))


def halo(rng: np.random.Generator, cover: Array, reach: float) -> Array:
    """(SIDE, SIDE) 0..1: the neighbourhood of `cover`, `reach` pixels wide and in patches."""
    near = blurred(cover, reach)
    return np.asarray(near / max(float(near.max()), 1e-6) * (0.6 + 0.4 * cloud(rng, 12)).clip(0, 1), dtype=np.float32)
