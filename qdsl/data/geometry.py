"""Where a picture lies in the model's input: by a letterbox, a crop, and all steps of the `input` block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qdsl.lang.recipe import InputStep

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a letterboxed picture lies: its size after scaling, and the rows above and columns left of it."""

    height: int
    width: int
    top: int
    left: int


def letterbox(height: int, width: int, to_height: int, to_width: int, corner: bool = False) -> Placing:
    """Scale (height, width) by one factor to the largest size inside (to_height, to_width) and place it in the middle,
    or at the top left with `corner`. An odd row or column of padding goes below or to the right."""
    scale = min(to_height / height, to_width / width)
    new_height = min(to_height, max(1, round(height * scale)))
    new_width = min(to_width, max(1, round(width * scale)))
    if corner:
        return Placing(new_height, new_width, 0, 0)
    return Placing(new_height, new_width, (to_height - new_height) // 2, (to_width - new_width) // 2)


def covering(height: int, width: int, to_height: int, to_width: int) -> tuple[int, int]:
    """The smallest size of the same shape, up to rounding, that covers (to_height, to_width)."""
    scale = max(to_height / height, to_width / width)
    return max(to_height, round(height * scale)), max(to_width, round(width * scale))


def region(steps: Iterable[InputStep], height: int, width: int) -> Box:
    """Where a picture of `height` x `width` pixels lies in the input, as (x0, y0, x1, y1) in input pixels: inside it
    after a letterbox, all of it after stretching, reaching over its edges after a crop."""
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    size = (height, width)
    for step in steps:
        if step.name not in ("resize", "crop"):
            continue
        to = (int(step.args[0]), int(step.args[1]))
        inside, shift = _placed(step, size, to)
        by_x, by_y = inside[1] / size[1], inside[0] / size[0]
        left, right = left * by_x + shift[1], right * by_x + shift[1]
        top, bottom = top * by_y + shift[0], bottom * by_y + shift[0]
        size = to
    return left, top, right, bottom


def _placed(step: InputStep, size: tuple[int, int], to: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size that one step scales to, and by how many rows and columns it then moves; all are (height, width)."""
    words = step.args[2:]
    if "letterbox" in words:
        place = letterbox(*size, *to, corner="top_left" in words)
        return (place.height, place.width), (place.top, place.left)
    if step.name == "crop" or "crop" in words:
        scaled = size if step.name == "crop" else covering(*size, *to)
        return scaled, (-((scaled[0] - to[0]) // 2), -((scaled[1] - to[1]) // 2))
    return to, (0, 0)
