"""Drawing on steel: pictures are `SIDE` pixels square, and the strip moves along x."""

from __future__ import annotations

import numpy as np

from examples.common.drawing import Array, Point, Sheet, smooth_step

SHEET = Sheet(320, over=3)
SIDE = SHEET.side
anywhere, noise, cloud, offsets = SHEET.anywhere, SHEET.noise, SHEET.cloud, SHEET.offsets


def blob(rng: np.random.Generator, centre: Point, rx: float, ry: float, ragged: float, soft: float) -> Array:
    """(SIDE, SIDE) 0..1: an ellipse of half axes `rx` and `ry` pixels whose edge wanders by the share `ragged`."""
    dx, dy = offsets(centre)
    edge = np.hypot(dx / np.float32(rx), dy / np.float32(ry))
    edge = edge + np.float32(ragged) * (cloud(rng, 6) + 0.5 * cloud(rng, 16) + 0.3 * cloud(rng, 48))
    return 1 - smooth_step(edge, 1 - soft, 1 + soft)


def moved(values: Array, dx: int, dy: int) -> Array:
    """(SIDE, SIDE) `values` shifted to the right and down; what leaves at one border does not come in at another."""
    out = np.zeros_like(values)
    rows, cols = slice(max(0, dy), SIDE + min(0, dy)), slice(max(0, dx), SIDE + min(0, dx))
    out[rows, cols] = values[max(0, -dy) : SIDE - max(0, dy), max(0, -dx) : SIDE - max(0, dx)]
    return out
