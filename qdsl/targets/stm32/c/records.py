"""Between an integer graph and C text: plain data.

C of two shapes computes operators (docs/stm32.md):
- a row kernel computes one row of the output at a time,
  `void name(const void *parameters, const void *const *rows, void *out, void *scratch)`: `rows` are the rows of the
  input that its window reaches, top first, NULL where they are padding; for an operator of several inputs one row of
  each;
- a plane kernel computes a whole tensor, `void name(const void *parameters, void *const *at)`: `at` are its inputs,
  its outputs, its scratch.
Row kernels run alone over a tensor or several in a pipeline, where only the rows that the next one reaches are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from qdsl.integer.records import Op


@dataclass(frozen=True, slots=True)
class Wish:
    """What a recipe asks of the C: `optimize` "speed" stores weights as the fastest kernels read them and fuses rows
    only where memory asks for it, "ram" takes the smallest arena, then the smallest flash; `rounding` "ort" requantizes
    in float32 as ONNX Runtime does, "tflite" in fixed point (no FPU needed); `kernels` "cmsis_nn" calls
    functions of CMSIS-NN for convolutions and matrices, which go with "tflite"."""

    optimize: Literal["speed", "ram"] = "speed"
    rounding: Literal["ort", "tflite"] = "ort"
    kernels: Literal["own", "cmsis_nn"] = "own"


@dataclass(frozen=True, slots=True)
class Constant:
    """A stored array: `ctype` is its C element type, `values` in C order. All are aligned to 4 bytes."""

    ctype: Literal["int8_t", "uint8_t", "int16_t", "int32_t", "uint32_t", "float"]
    values: NDArray[Any]


Parameters = tuple[tuple[str, int | float | str | Constant | None], ...]  # fields by name, in order


@dataclass(frozen=True, slots=True)
class Call:
    """How C computes one operator. `kernel` is the C function and `rows` whether it is a row kernel; `struct` is the C
    type of its parameters, and `parameters` the values of the fields by name, in order: numbers, the names of C
    functions, or constants, to which the field points (None: NULL). `files` are the kernel sources that it needs, of
    `kernels/`, in the order in which they are included. `scratch` is in bytes.

    `window` is (rows reached, stride, dilation, padding above) of a row kernel. `behind` is, per input, how many bytes
    before that input the output has to begin at least, where the two share memory; None where they may not. `asks` is a
    C function of the parameters that tells how many bytes of scratch are needed, where a library decides that."""

    op: Op
    kernel: str
    rows: bool
    struct: str
    parameters: Parameters
    files: tuple[str, ...]
    scratch: int = 0
    window: tuple[int, int, int, int] = (1, 1, 1, 0)
    behind: tuple[int | None, ...] = ()
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One call, or a pipeline of row kernels: each reads row by row what the one before it writes, which nobody else
    reads; what else they read lies in the arena as a whole. A pipeline computes a row when a later call lacks it to
    write its own next one, so rows of every call come in order, and none that no later call reaches."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything lies in the arena, in bytes from its beginning, aligned to 4 (int64: 8). Steps run in order;
    those that only reshape are none, since both tensors lie at one place.

    `tensors`: what lies there as a whole, from the step that writes it (inputs of the graph: from before the first) to
    the last that reads it (outputs of the graph: for ever). `rings`: of a tensor inside a pipeline, where its rows lie
    and how many of them, row r at the place of r modulo that number. `scratch`: of each step, for its calls in turn,
    which leave nothing there from one row to the next; 0 where none needs any.

    The output of a step begins before an input whose memory it shares, or where that begins: on its own at least
    `Call.behind` bytes before it, after a pipeline far enough that no row lies over what a later row is computed of.
    A call that needs 0 bytes may write a row over the row that it is computed of.

    `size` is what this plan takes, `bound` what none of these steps can go below; with `optimize ram`, of any steps."""

    steps: tuple[Step, ...]
    tensors: dict[str, int]
    scratch: tuple[int, ...]
    rings: dict[str, tuple[int, int]]
    size: int
    bound: int
