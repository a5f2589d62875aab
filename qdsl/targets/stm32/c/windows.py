"""Windows that go over a plane row by row, as calls tell them."""

from __future__ import annotations

from qdsl.integer.records import Tensor, Window
from qdsl.targets.stm32.c.shapes import rows_of


def seen(window: Window) -> tuple[int, int, int, int]:
    """Rows reached, stride, dilation, rows of padding above: `Call.window`."""
    return window.kernel[0], window.strides[0], window.dilations[0], window.pads[0]


def behind(window: Window, source: Tensor, out: Tensor) -> int:
    """How many bytes before the input the output has to begin, where rows of [1, H, W, C] are computed one by one: no
    row is written over one that it or a later one reads."""
    row, (rows, out_row) = rows_of(source)[1], rows_of(out)
    firsts = (max(0, y * window.strides[0] - window.pads[0]) for y in range(rows))
    return max(0, *((y + 1) * out_row - first * row for y, first in enumerate(firsts)))


def columns_of(window: Window) -> tuple[tuple[str, int], ...]:
    """The rows that a window reaches, and how it goes over one, as parameters of kernels."""
    return (
        ("reach", window.kernel[0]),
        ("kernel", window.kernel[1]),
        ("step", window.dilations[1]),
        ("stride", window.strides[1]),
        ("left", window.pads[1]),
    )


def over_rows(window: Window, source: Tensor, out: Tensor) -> tuple[tuple[str, int], ...]:
    """How a pool goes over rows of [1, H, W, C], as its parameters have it."""
    sizes = (("width", source.shape[2]), ("out_width", out.shape[2]), ("channels", out.shape[3]))
    return (*sizes, *columns_of(window))
