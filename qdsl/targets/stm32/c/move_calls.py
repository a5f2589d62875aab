"""Calls of the kernels that only move bytes: reshape, transpose, slice, pad, nearest resize, concat (which may also
change the encoding of what it moves)."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Concat, IntegerGraph, Op, Pad, Reshape, Resize, Slice, Tensor, Transpose
from qdsl.integer.tables import requantizing_table
from qdsl.targets.stm32.c.records import Call, Constant
from qdsl.targets.stm32.c.shapes import SIZES, encoding, nbytes, of

AXES = 6


def reshape(op: Reshape, graph: IntegerGraph) -> Call:
    """Nothing where input and output lie at the same place, else a copy."""
    _, out = of(graph, op)
    parameters = (("bytes", nbytes(out)),)
    return Call(op, "qdsl_copy", False, "qdsl_copy_parameters", parameters, ("move.h",), behind=(0,))


def _steps(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _numbers(values: list[int], fill: int) -> Constant:
    return Constant("int32_t", np.array([fill] * (AXES - len(values)) + values, np.int32))


def _strided(
    op: Op,
    extents: list[int],
    steps: tuple[list[int], list[int]],
    starts: tuple[int, int],
    out: Tensor,
    fill: NDArray[np.generic] | None = None,
) -> Call:
    """`steps` and `starts` count elements, of the input and of the output."""
    size = SIZES[out.dtype]
    axes, piece = joined([(e, i * size, o * size) for e, i, o in zip(extents, *steps, strict=True)], size)
    parameters: tuple[tuple[str, int | Constant | None], ...] = (
        ("extents", _numbers([axis[0] for axis in axes], 1)),
        ("in_steps", _numbers([axis[1] for axis in axes], 0)),
        ("out_steps", _numbers([axis[2] for axis in axes], 0)),
        ("fill", None if fill is None else Constant("uint8_t", fill.reshape(1).view(np.uint8))),
        ("fill_size", size),
        ("fills", 0 if fill is None else prod(out.shape)),
        ("size", piece),
        ("from", starts[0] * size),
        ("to", starts[1] * size),
    )
    return Call(op, "qdsl_strided", False, "qdsl_strided_parameters", parameters, ("strided.h",), behind=(None,))


def joined(axes: list[tuple[int, int, int]], size: int) -> tuple[list[tuple[int, int, int]], int]:
    """Axes (extent, step of the input, of the output, in bytes) with neighbours that are one run as one, and the bytes
    of a piece, which the innermost ones become a part of where they lie side by side in both. Raises ValueError for
    more axes than the kernel walks."""
    found: list[tuple[int, int, int]] = []
    for extent, read, written in axes:
        if extent == 1:
            continue
        if found and found[-1][1:] == (extent * read, extent * written):
            extent *= found.pop()[0]
        found.append((extent, read, written))
    if found and found[-1][1:] == (size, size):
        size *= found.pop()[0]
    if len(found) > AXES:
        raise ValueError(f"{len(found)} axes that do not lie side by side")
    return found, size


def transpose(op: Transpose, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    steps = _steps(source.shape)
    taken = [steps[axis] for axis in op.order]
    return _strided(op, list(out.shape), (taken, _steps(out.shape)), (0, 0), out)


def slices(op: Slice, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    steps = _steps(source.shape)
    start = sum(first * step for first, step in zip(op.starts, steps, strict=True))
    taken = [step * apart for step, apart in zip(steps, op.steps, strict=True)]
    return _strided(op, list(out.shape), (taken, _steps(out.shape)), (start, 0), out)


def pad(op: Pad, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    steps = _steps(out.shape)
    start = sum(before * step for before, step in zip(op.before, steps, strict=True))
    value = np.array(op.value, out.dtype)
    return _strided(op, list(source.shape), (_steps(source.shape), steps), (0, start), out, value)


def resize(op: Resize, graph: IntegerGraph) -> Call:
    """The rows and columns of a tensor [1, H, W, C]."""
    (source,), out = of(graph, op)
    pixel = out.shape[3] * SIZES[out.dtype]
    parameters: tuple[tuple[str, int | Constant], ...] = (
        ("rows", Constant("int32_t", np.asarray(op.rows, np.int32))),
        ("columns", Constant("int32_t", np.asarray(op.columns, np.int32))),
        ("height", out.shape[1]),
        ("width", out.shape[2]),
        ("pixel", pixel),
        ("row", source.shape[2] * pixel),
    )
    return Call(op, "qdsl_resize", False, "qdsl_resize_parameters", parameters, ("resize.h",), behind=(None,))


def concat(op: Concat, graph: IntegerGraph) -> Call:
    """By rows where the rows of the output are made of rows of the inputs."""
    sources, out = of(graph, op)
    tables: list[NDArray[np.int8]] = []
    which = []
    for source in sources:
        if source.dtype != "int8" or source.encoding == out.encoding:
            which.append(-1)
        else:
            which.append(len(tables))
            tables.append(requantizing_table(encoding(source), encoding(out)))
    rows = len(out.shape) == 4 and op.axis >= 2
    inner = [prod(source.shape[op.axis :]) * SIZES[out.dtype] for source in sources]
    parameters: tuple[tuple[str, int | Constant | None], ...] = (
        ("inner", Constant("int32_t", np.array(inner, np.int32))),
        ("which", Constant("int32_t", np.array(which, np.int32))),
        ("tables", Constant("int8_t", np.stack(tables)) if tables else None),
        ("inputs", len(sources)),
        ("outer", prod(out.shape[2 if rows else 0 : op.axis])),
    )
    kernel = "qdsl_concat_row" if rows else "qdsl_concat"
    nowhere = (None,) * len(sources)
    return Call(op, kernel, rows, "qdsl_concat_parameters", parameters, ("concat.h",), behind=nowhere)
