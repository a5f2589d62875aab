"""example.h: how main.c turns pixels into what the first input holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdsl.data.preprocess import apply_numbers, per_channel
from qdsl.integer.records import Tensor
from qdsl.integer.rounding import quantized
from qdsl.lang.recipe import InputSpec
from qdsl.targets.stm32.c.literals import array
from qdsl.targets.stm32.c.records import Constant

_ARITHMETIC = ("rescale", "mean", "std")


@dataclass(frozen=True, slots=True)
class Levels:
    """What each byte of a pixel becomes: `values` is [channels, 256] of the input's type, channel i of the input is
    made of byte `source`[i] of a pixel."""

    values: NDArray[Any]
    source: tuple[int, ...]


def levels_of(spec: InputSpec | None, tensor: Tensor) -> Levels | None:
    """The arithmetic of a recipe's `input` block on each of 256 levels, then QuantizeLinear where the input is int8:
    what the steps make of a picture that has the size of the input already. None for what is no picture of one or three
    channels, and where a channel is made of several."""
    if len(tensor.shape) != 4 or tensor.shape[3] not in (1, 3) or tensor.dtype not in ("int8", "float32"):
        return None
    channels = tensor.shape[3]
    values: NDArray[Any] = np.repeat(np.arange(256, dtype=np.float32)[:, None], channels, axis=1)
    source = tuple(range(channels))
    order = "rgb" if channels == 3 else "gray"
    for step in spec.steps if spec else ():
        if step.name == "color" and str(step.args[0]) != order:
            if "gray" in (order, str(step.args[0])):
                return None
            order, source, values = str(step.args[0]), source[::-1], values[:, ::-1]
        elif step.name in _ARITHMETIC:
            values = apply_numbers(step.name, values, per_channel(step, channels))
    if tensor.dtype == "int8":
        if tensor.encoding is None:
            return None
        values = quantized(values, tensor.encoding)
    return Levels(np.ascontiguousarray(values.T), source)


def example_h(levels: Levels | None) -> str:
    """`levels` are those of the first input."""
    if levels is None:
        return "/* The first input is no picture: its bytes are read as they are. */\n"
    channels = len(levels.values)
    ctype: Literal["float", "int8_t"] = "float" if levels.values.dtype == np.float32 else "int8_t"
    table = array("example_levels", Constant(ctype, levels.values))
    return f"""\
/* What each byte of a pixel becomes in the first input, 256 levels for each channel one after another: the arithmetic
   of the recipe, then the quantization of the input. Channel i is made of byte example_source[i] of a pixel. */
#define EXAMPLE_PICTURE {channels}
typedef {ctype} example_code;
static const uint8_t example_source[{channels}] = {{{", ".join(map(str, levels.source))}}};
{table}"""
