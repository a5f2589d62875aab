"""What of a model the executor cannot run, all of it at once; no torch is needed to ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onnx import AttributeProto, ModelProto

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph import Model
from qdsl.graph.dtypes import type_name
from qdsl.graph.problems import shown
from qdsl.train.operation import Operation
from qdsl.train.program import Program, program_of
from qdsl.train.table import OPERATORS

_HELD = frozenset(
    (
        *("float32", "float64", "float16", "bfloat16", "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32"),
        *("int64", "uint64", "int4", "uint4", "int2", "uint2"),
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Lack:
    """Something that the executor lacks: an operator (`form` is ""), a form of one that it has, or a type of constants
    (`operator` is ""). `node` is where, the constant's name for a type."""

    operator: str
    form: str
    node: str

    @property
    def what(self) -> str:
        """In words: `If`, `Resize with antialias 1`, `constants of float8e4m3fn`."""
        if not self.operator:
            return f"constants of {self.form}"
        return f"{self.operator} with {self.form}" if self.form else self.operator


def lacking(model: Model | ModelProto) -> tuple[Lack, ...]:
    """What of `model` cannot be run, in the order of its nodes; () where all of it can."""
    return lacks_of(program_of(model))


def lacks_of(program: Program) -> tuple[Lack, ...]:
    found = [lack for operation in program.operations for lack in _of_operation(operation)]
    read = {name for operation in program.operations for name in operation.inputs}
    for name, value in program.constants.items():
        kind = type_name(value.element_type) or str(value.element_type)
        if name in read and kind not in _HELD:
            found.append(Lack("", kind, name))
    return tuple(found)


def _of_operation(operation: Operation) -> Iterator[Lack]:
    row = OPERATORS.get(operation.kind)
    if row is None:
        yield Lack(operation.kind, "", operation.name)
        return
    for name, value in operation.attributes.items():
        allowed = row.takes.get(name)
        if name not in row.knows or isinstance(value, AttributeProto) or (allowed and value not in allowed):
            yield Lack(operation.kind, f"{name} {_short(value)}", operation.name)
    for port in sorted(row.not_read):
        if operation.reads(port):
            yield Lack(operation.kind, f"input {port}", operation.name)
    for port in range(row.outputs, len(operation.outputs)) if row.outputs else ():
        if operation.writes(port):
            yield Lack(operation.kind, f"output {port}", operation.name)


def _short(value: Any) -> str:
    return "of another kind" if isinstance(value, AttributeProto) else str(value)[:40]


def raise_lacks(program: Program, span: Span | None) -> None:
    """Raises QdslError executor-lacks, one diagnostic for each thing that is lacking."""
    by_what: dict[str, list[str]] = {}
    for lack in lacks_of(program):
        by_what.setdefault(lack.what, []).append(lack.node)
    if by_what:
        raise QdslError(
            [
                Diagnostic(
                    "executor-lacks",
                    f"no gradients go through {what}: {shown(nodes)}",
                    span,
                    help=("take that part out of the graph, or choose a way without gradients",),
                )
                for what, nodes in sorted(by_what.items())
            ]
        )
