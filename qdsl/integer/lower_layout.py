"""How axes lie in memory: which orders are the same bytes, and what a change of shape makes of an order.

An order is a tuple of axes: `axes[k]` is the axis of the ONNX tensor that stored axis k is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Axes = tuple[int, ...]
Shape = tuple[int, ...]

CHANNELS_LAST: Axes = (0, 2, 3, 1)


def identity(rank: int) -> Axes:
    return tuple(range(rank))


def stored_shape(shape: Shape, axes: Axes) -> Shape:
    """`shape` (ONNX) in the stored order."""
    return tuple(shape[axis] for axis in axes)


def long_axes(shape: Shape, axes: Axes) -> Axes:
    """The axes of more than one element, in the stored order: all that tells where an element lies."""
    return tuple(axis for axis in axes if shape[axis] != 1)


def same_bytes(shape: Shape, one: Axes, other: Axes) -> bool:
    return long_axes(shape, one) == long_axes(shape, other)


def transposed(axes: Axes, perm: Sequence[int]) -> Axes:
    """The order of what an ONNX Transpose by `perm` writes, where the bytes stay."""
    return tuple(perm.index(axis) for axis in axes)


def reshaped(shape: Shape, axes: Axes, target: Shape) -> Axes | None:
    """The order of the same bytes as `target`, None where the elements of ONNX's row-major order would have to move."""
    groups = _groups(shape, target)
    if groups is None:
        return None
    found: list[int] = []
    lying = list(long_axes(shape, axes))
    while lying:
        before, after = next(group for group in groups if lying[0] in group[0])
        if tuple(lying[: len(before)]) != before:
            return None
        found += after
        del lying[: len(before)]
    return _with_short(tuple(found), target)


def _groups(shape: Shape, target: Shape) -> list[tuple[Axes, Axes]] | None:
    """Runs of axes of both shapes that hold the same elements, as fine as they can be; axes of one element aside."""
    if prod(shape) != prod(target) or not prod(shape):
        return None
    ours = [axis for axis, size in enumerate(shape) if size != 1]
    theirs = [axis for axis, size in enumerate(target) if size != 1]
    found: list[tuple[Axes, Axes]] = []
    while ours:
        before, after = [ours.pop(0)], [theirs.pop(0)]
        while (left := prod(shape[a] for a in before)) != (right := prod(target[a] for a in after)):
            (before.append(ours.pop(0)) if left < right else after.append(theirs.pop(0)))
        found.append((tuple(before), tuple(after)))
    return found


def _with_short(found: Axes, shape: Shape) -> Axes:
    """`found` with the axes of one element: where they stand in ONNX's order or channels last if that fits, in front
    of the others otherwise."""
    for order in (identity(len(shape)), CHANNELS_LAST):
        if len(order) == len(shape) and long_axes(shape, order) == found:
            return order
    return (*(axis for axis in range(len(shape)) if axis not in found), *found)
