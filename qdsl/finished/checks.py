"""What cannot hold of a quantization as it is written. ONNX's own checker looks at none of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qdsl.finished.fixed import Fixed
from qdsl.finished.parameters import Written, counted, granularity
from qdsl.graph.view import Dim, GraphView
from qdsl.spec import Granularity

Shape = tuple[Dim, ...]


def faults(written: Written, integers: str | None, view: GraphView, fixed: Fixed) -> Iterator[tuple[str, str]]:
    """(id of a rule, what is wrong) of what a node writes. `integers` is the type of the integers that it reads or
    writes where that is known by itself. What is not known is no fault."""
    scale = _shape(written.scale, view)
    kind = granularity(scale, written.block)
    if scale is None:
        pass
    elif written.block:
        yield from _blocks(written, scale)
    elif kind is Granularity.PER_CHANNEL:
        yield from _channels(written, scale)
    if written.zero:
        yield from _zero_point(written, scale, integers, view)
    yield from _values(written, fixed)


def _shape(name: str, view: GraphView) -> Shape | None:
    found = view.tensors.get(name)
    return None if found is None else found.shape


def _channels(written: Written, scale: Shape) -> Iterator[tuple[str, str]]:
    if len(scale) != 1:
        yield "scale_length", f"a scale of the shape {_told(scale)}; without blocks it has one axis at most"
        return
    if written.shape is None:
        if counted(written.axis, None) is None:
            yield "axis_unknown", f"the axis {written.axis}, counted from the end of a tensor whose rank is not known"
        return
    axis = counted(written.axis, written.shape)
    if axis is None or axis >= len(written.shape):
        yield "axis_out_of_range", f"the axis {written.axis} for a tensor of the shape {_told(written.shape)}"
        return
    channels = written.shape[axis]
    if isinstance(channels, int) and isinstance(scale[0], int) and channels != scale[0]:
        yield "scale_length", f"{scale[0]} scales for the {channels} channels of axis {axis}"


def _blocks(written: Written, scale: Shape) -> Iterator[tuple[str, str]]:
    if written.shape is None:
        return
    if len(scale) != len(written.shape):
        yield "block_count", f"a scale of the shape {_told(scale)} for blocks of a tensor of {_told(written.shape)}"
        return
    axis = counted(written.axis, written.shape)
    if axis is None or axis >= len(written.shape):
        yield "axis_out_of_range", f"the axis {written.axis} for a tensor of the shape {_told(written.shape)}"
        return
    for at, (dim, count) in enumerate(zip(written.shape, scale, strict=True)):
        if not isinstance(dim, int) or not isinstance(count, int):
            continue
        wanted = -(-dim // written.block) if at == axis else dim
        if count != wanted:
            yield (
                "block_count",
                f"a scale of the shape {_told(scale)} for a tensor of {_told(written.shape)} in blocks of "
                f"{written.block} along axis {axis}: axis {at} needs {wanted}",
            )
            return


def _zero_point(
    written: Written, scale: Shape | None, integers: str | None, view: GraphView
) -> Iterator[tuple[str, str]]:
    seen = view.tensors.get(written.zero)
    if seen is None:
        return
    if scale is not None and seen.shape is not None and not _alike(scale, seen.shape):
        yield "zero_point_shape", f"a zero point of the shape {_told(seen.shape)} beside a scale of {_told(scale)}"
    if seen.dtype is not None and integers is not None and seen.dtype != integers:
        yield "zero_point_type", f"a zero point of {seen.dtype} for integers of {integers}"


def _alike(one: Shape, other: Shape) -> bool:
    """One number is one number, whatever its rank: runtimes take both forms."""
    if all(dim == 1 for dim in one) and all(dim == 1 for dim in other):
        return True
    return len(one) == len(other) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(one, other, strict=True)
    )


def _values(written: Written, fixed: Fixed) -> Iterator[tuple[str, str]]:
    """In blocks of weights a scale may be negative, or 0 where all of the block is: quantizers write them so."""
    scale = fixed.value(written.scale)
    if scale is None or scale.size == 0:
        return
    values = np.asarray(scale, np.float64).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(values) | ((values <= 0) & (not written.block)))
    if wrong.size:
        first = f"a scale of {values[wrong[0]]:g}"
        many = f", and {wrong.size} of its {values.size} scales are like that" if values.size > 1 else ""
        yield "scale_not_positive", f"{first}{many}"


def _told(shape: Shape) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "()"
