"""Windows of convolutions and pools, from what a node says and what was padded before it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import CHANNELS_LAST, Shape
from qdsl.integer.lower_values import At
from qdsl.integer.lower_work import Work
from qdsl.integer.records import Window

Pads = tuple[int, int, int, int]
NONE: Pads = (0, 0, 0, 0)


def plane(shape: Shape) -> Shape:
    """[N, C, H, W]; what has a length alone is a plane of one row."""
    return (shape[0], shape[1], 1, shape[2]) if len(shape) == 3 else shape


def absorbed(at: At) -> tuple[At, Pads]:
    """`at` without zeros that were to be put around its planes, and how many: top, left, bottom, right."""
    if at.padding is None or len(at.shape) not in (3, 4) or any(any(ends) for ends in at.padding[:2]):
        return at, NONE
    (top, bottom), (left, right) = ((0, 0), *at.padding[2:])[-2:]
    shape = tuple(size - sum(ends) for size, ends in zip(at.shape, at.padding, strict=True))
    return replace(at, shape=shape, padding=None), (top, left, bottom, right)


def spatial(work: Work, at: At, node: NodeView) -> At:
    """A plane with channels last. Raises LoweringError for another rank."""
    if len(at.shape) not in (3, 4):
        raise work.no(node, f"its input has {len(at.shape)} axes: only N, C, H, W and N, C, L have kernels here")
    return work.graph.laid(work.graph.reshaped(at, plane(at.shape), node.name), CHANNELS_LAST, node.name)


def window_of(work: Work, node: NodeView, shape: Shape, kernel: tuple[int, ...], padded: Pads = NONE) -> Window:
    """The window of `node` over planes of `shape` [N, C, H, W] or [N, C, L], with what was `padded` before."""
    strides, dilations = (_two(node, key) for key in ("strides", "dilations"))
    size = (kernel[0], kernel[1]) if len(kernel) == 2 else (1, kernel[0])
    own = _pads(node, plane(shape), size, strides, dilations, padded)
    if min(own) < 0:
        raise work.no(node, "negative padding, which cuts off, has no kernel here")
    pads = cast(Pads, tuple(one + other for one, other in zip(own, padded, strict=True)))
    return Window(size, strides, dilations, pads)


def _two(node: NodeView, key: str) -> tuple[int, int]:
    told = cast("tuple[int, ...]", node.attrs.get(key) or (1, 1))
    return (told[0], told[1]) if len(told) == 2 else (1, told[0])


def _pads(
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
        return (told[0], told[1], told[2], told[3]) if len(told) == 4 else (0, told[0], 0, told[1])
    missing = []
    for axis in (0, 1):
        size = shape[2 + axis] + padded[axis] + padded[2 + axis]
        steps = -(-size // strides[axis])
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        missing.append(max((steps - 1) * strides[axis] + reach - size, 0))
    half = [(each + (way == "SAME_LOWER")) // 2 for each in missing]
    return (half[0], half[1], missing[0] - half[0], missing[1] - half[1])
