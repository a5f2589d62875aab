"""Windows of convolutions and pools, from what a node says and what was padded before it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import Shape
from qdsl.integer.lower_values import At
from qdsl.integer.lower_work import Work
from qdsl.integer.records import Window

Pads = tuple[int, int, int, int]
NONE: Pads = (0, 0, 0, 0)


def absorbed(at: At) -> tuple[At, Pads]:
    """`at` without zeros that were to be put around its planes, and how many: top, left, bottom, right."""
    if at.padding is None or len(at.shape) != 4 or any(any(ends) for ends in at.padding[:2]):
        return at, NONE
    (top, bottom), (left, right) = at.padding[2:]
    shape = tuple(size - sum(ends) for size, ends in zip(at.shape, at.padding, strict=True))
    return replace(at, shape=shape, padding=None), (top, left, bottom, right)


def window_of(work: Work, node: NodeView, shape: Shape, kernel: tuple[int, ...], padded: Pads = NONE) -> Window:
    """The window of `node` over planes of `shape` [N, C, H, W], with what was `padded` before. Raises LoweringError
    where the planes have another rank."""
    if len(shape) != 4:
        raise work.no(node, f"its input has {len(shape)} axes: only planes of 4 (N, C, H, W) are supported")
    strides, dilations = (cast("tuple[int, int]", node.attrs.get(key) or (1, 1)) for key in ("strides", "dilations"))
    size = (kernel[0], kernel[1])
    own = _pads(work, node, shape, size, strides, dilations, padded)
    pads = cast(Pads, tuple(one + other for one, other in zip(own, padded, strict=True)))
    return Window(size, strides, dilations, pads)


def _pads(
    work: Work,
    node: NodeView,
    shape: Shape,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    padded: Pads,
) -> Pads:
    """The node's own pads; what it leaves to be worked out is worked out of the size that it writes."""
    way = str(node.attrs.get("auto_pad") or "NOTSET")
    if way == "VALID":
        return NONE
    told = cast("tuple[int, ...] | None", node.attrs.get("pads")) or NONE
    if way == "NOTSET":
        return (told[0], told[1], told[2], told[3])
    missing = []
    for axis in (0, 1):
        size = shape[2 + axis] + padded[axis] + padded[2 + axis]
        steps = -(-size // strides[axis])
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        missing.append(max((steps - 1) * strides[axis] + reach - size, 0))
    half = [(each + (way == "SAME_LOWER")) // 2 for each in missing]
    return (half[0], half[1], missing[0] - half[0], missing[1] - half[1])
