"""C of an integer graph: which kernel computes what, where everything lies, and the folder of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.integer.lower import lower
from qdsl.integer.lower_errors import LoweringError
from qdsl.integer.records import IntegerGraph, Op
from qdsl.lang.recipe import InputSpec
from qdsl.spec.words import plain
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.example import levels_of
from qdsl.targets.stm32.c.records import Call, Placed, Wish
from qdsl.targets.stm32.c.writing import CFiles, write_c
from qdsl.targets.stm32.emulated.building import Limits
from qdsl.targets.stm32.placing import fitted

BESIDE = 9 << 10  # bytes of the largest memory that are no arena: the stack, where there is no other, and what is small
MOST = 1 << 29  # bytes of an arena: more than any board has, and few enough for its plan to be replayed here


@dataclass(frozen=True, slots=True)
class MadeC:
    """What was written, and the graph and plan of memory that it computes by."""

    graph: IntegerGraph
    placed: Placed
    files: CFiles


def integer_graph(model: onnx.ModelProto, name: str, wanted: Asked, span: Span | None = None) -> IntegerGraph:
    """The integer graph of a file, called `name`, with integers for inputs and outputs where they are wanted. `span` is
    the place that names the model. Raises QdslError stm32-no-form, and what a model that is none raises."""
    try:
        return lower(model, name, "int8" if wanted.integers else None)
    except LoweringError as error:
        what = f"{error.operator} `{error.node[:80]}`" if error.node else error.operator
        cure = _OTHERWISE if error.node or not wanted.integers else _NO_INTEGERS
        raise _no_form(f"no C computes {what}", error.reason, span, cure) from None


def make_c(
    graph: IntegerGraph, wanted: Asked, folder: Path, *, inputs: Iterable[InputSpec] = (), span: Span | None = None
) -> MadeC:
    """Write the C of `graph` into `folder`; `inputs` are the recipe's, for the example beside it. Without a board there
    is as much room as an emulated one has. Raises QdslError stm32-no-form for an operator that no kernel computes."""
    wish = Wish(wanted.optimize, wanted.rounding, wanted.kernels)
    room = Limits().ram if wanted.board is None else wanted.board.largest.bytes
    placed = fitted(graph, wish, room - BESIDE, lambda op: _call(op, graph, wish, span))
    if placed.size > MOST:
        headline = f"no C computes {plain(graph.name[:80])}: its arena takes {placed.size:,} bytes"
        raise _no_form(headline, f"no arena above {MOST:,} is laid out", span, "take a smaller model or input")
    levels = levels_of(_spec(graph, inputs), graph.tensors[graph.inputs[0]]) if graph.inputs else None
    return MadeC(graph, placed, write_c(graph, placed, folder, levels=levels, board=wanted.board))


def _call(op: Op, graph: IntegerGraph, wish: Wish, span: Span | None) -> Call:
    try:
        return call_of(op, graph, wish)
    except ValueError as error:
        raise _no_form(f"no C computes `{op.node[:80]}`", str(error), span) from None


def _spec(graph: IntegerGraph, specs: Iterable[InputSpec]) -> InputSpec | None:
    """The block of the first input: one without a name speaks of the only one."""
    by_name = {spec.name: spec for spec in specs}
    return by_name.get(graph.inputs[0]) or (by_name.get(None) if len(graph.inputs) == 1 else None)


_NO_INTEGERS = 'take `io int8` out, or put a pair there: `place { quantize tensor "NAME" }`'
_OTHERWISE = "export the model with an operator that has a kernel (docs/targets.md), or cut it before"


def _no_form(headline: str, label: str, span: Span | None, cure: str = _OTHERWISE) -> QdslError:
    return QdslError([Diagnostic("stm32-no-form", headline, span, label, (cure,))])
