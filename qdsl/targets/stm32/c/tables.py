"""The tables of network.c: where tensors lie, what runs in which order."""

from __future__ import annotations

from dataclasses import dataclass, field

from qdsl.integer.records import DynamicQuantize, IntegerGraph, Op, Reshape
from qdsl.targets.stm32.c.constants import Constants, parameters, stored_inputs
from qdsl.targets.stm32.c.conv_calls import over_plane
from qdsl.targets.stm32.c.literals import told
from qdsl.targets.stm32.c.records import Call, Placed, Step
from qdsl.targets.stm32.c.shapes import rows_of

CONSTANT = 0x80000000


@dataclass(slots=True)
class Tables:
    """`steps` are those that run (a reshape in place is none), `files` the kernel sources that they need, `inputs` C
    names of constants read as inputs. `reach` is the most addresses that a kernel is given, `deepest` the most kernels
    of a pipeline; `asks` is what a library is asked before it runs; the others are lines of the tables."""

    graph: IntegerGraph
    placed: Placed
    constants: Constants
    inputs: dict[str, str]
    steps: list[Step] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    reach: int = 1
    deepest: int = 1


def tables_of(graph: IntegerGraph, placed: Placed) -> Tables:
    constants = Constants()
    calls = tuple(call for step in placed.steps for call in step.calls)
    tables = Tables(graph, placed, constants, stored_inputs(graph, calls, constants))
    for step, scratch in zip(placed.steps, placed.scratch, strict=True):
        if not _nothing_to_do(step, placed):
            tables.steps.append(step)
            _add(tables, step, scratch)
    return tables


def _nothing_to_do(step: Step, placed: Placed) -> bool:
    op = step.calls[0].op
    return isinstance(op, Reshape) and placed.tensors.get(op.inputs[0]) == placed.tensors[op.output]


def _add(tables: Tables, step: Step, scratch: int) -> None:
    step, whole = _as_one_row(tables.graph, step)
    names = []
    for call in step.calls:
        name, text = parameters(call, len(tables.parameters), tables.constants)
        tables.parameters.append(text)
        tables.files.extend(call.files)
        names.append(name)
        if call.asks:
            tables.asks.append(f"    {{{call.asks}, &{name}, {call.scratch}}},\n")
    comment = ", ".join(told(call.op.node or call.op.output) for call in step.calls)
    places = f"&network_places[{len(tables.places)}]"
    if not step.calls[0].rows:
        (call,) = step.calls
        names_of = (*call.op.inputs, *written(call.op))
        _places(tables, [*(_place(tables, name) for name in names_of), scratch])
        count = len(names_of) + 1
        tables.reach = max(tables.reach, count)
        tables.lines.append(f"    {{{call.kernel}, &{names[0]}, {places}, {count}}}, /* {comment} */\n")
        return
    first = len(tables.stages)
    for call, name in zip(step.calls, names, strict=True):
        _stage(tables, call, name, whole)
    _places(tables, [scratch])
    tables.deepest = max(tables.deepest, len(step.calls))
    tables.lines.append(f"    {{NULL, &network_stages[{first}], {places}, {len(step.calls)}}}, /* {comment} */\n")


def _as_one_row(graph: IntegerGraph, step: Step) -> tuple[Step, bool]:
    """What reads no other pixel than it writes goes over a plane as over one row, where it runs by itself."""
    (call, *more) = step.calls
    flat = call if more else over_plane(call, rows_of(graph.tensors[call.op.output])[0])
    return (step, False) if flat is call else (Step((flat,)), True)


def written(op: Op) -> tuple[str, ...]:
    """The tensors that an operator writes."""
    return (op.output, op.encoding) if isinstance(op, DynamicQuantize) else (op.output,)


def _places(tables: Tables, places: list[int]) -> None:
    tables.places.extend(f"{place}u" for place in places)


def _place(tables: Tables, name: str) -> int:
    if name in tables.inputs:
        return CONSTANT + list(tables.inputs).index(name)
    return tables.placed.tensors[name]


def _stage(tables: Tables, call: Call, name: str, whole: bool) -> None:
    first = len(tables.rows)
    graph, op = tables.graph, call.op
    height = rows_of(graph.tensors[op.output])[0]
    for tensor in op.inputs:
        tables.rows.append(_rows(tables, tensor, height if len(op.inputs) > 1 else None, whole))
    tables.rows.append(_rows(tables, op.output, None, whole))
    reach, stride, dilation, above = call.window
    tables.reach = max(tables.reach, reach, len(op.inputs))
    tables.stages.append(
        f"    {{{call.kernel}, &{name}, &network_rows[{first}], {len(op.inputs)}, {reach}, {stride}, {dilation},"
        f" {above}}},\n"
    )


def _rows(tables: Tables, name: str, height: int | None, whole: bool) -> str:
    """`height` is that of the output where there are several inputs: an input of one row is the same for all rows."""
    own, size = rows_of(tables.graph.tensors[name])
    if whole:
        own, size = 1, own * size
    if name in tables.placed.rings:
        at, ring = tables.placed.rings[name]
    else:
        at, ring = _place(tables, name), own
    return f"    {{{at}u, {size}u, {ring}, {height or own}}}, /* {told(name)} */\n"
