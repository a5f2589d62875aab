"""Make the plan's float16 nodes read and write float16, with one Cast per tensor where their neighbours differ.

Fires once per node of the plan. The constants that these nodes read are stored as float16; what float32 nodes or a
graph output read of a float16 tensor goes through one Cast to float32, and what float16 nodes read of a float32 tensor
through one Cast to float16. Constants that the plan only stores as float16 get a Cast to float32 behind them. A Cast of
the model's own that leads to float16 nodes alone casts to float16 itself.
Refuses a graph output that the body of an If, Loop or Scan reads by name, with an error: its name stands for float32.
Guarantees that graph inputs and outputs keep their names and types, that no Cast follows another one of this pass, and
that every Cast says under `qdsl.origin` which line of the recipe asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph.edit import add_deferred, add_node, readers_of, replace_output, replace_readers, set_attr
from qdsl.graph.edit_qdq import set_element_type
from qdsl.graph.model import Model
from qdsl.passes.lowering import Lowering
from qdsl.passes.origins import ORIGIN_KEY, origin_text
from qdsl.rewrite import Changes, Outcome
from qdsl.spec.plan import Float16Node, Float16Weight, Origin

_NUMBERS = {"float32": 1, "float16": 10}  # onnx.in.proto, TensorProto.DataType
Slot = tuple[gs.Node, int]


class Float16Plan(Protocol):
    """The part of a plan that speaks of float16. `recipe` is the recipe's name."""

    @property
    def recipe(self) -> str: ...

    @property
    def halves(self) -> Sequence[Float16Node]: ...

    @property
    def half_weights(self) -> Sequence[Float16Weight]: ...


@dataclass(frozen=True, slots=True)
class StoreFloat16(Lowering):
    """Options: the plan to carry out."""

    plan: Float16Plan

    name: ClassVar[str] = "store_float16"
    summary: ClassVar[str] = "planned nodes and constants in float16, with one Cast per tensor where neighbours differ"

    def __str__(self) -> str:
        return f"{self.name}{{nodes={len(self.plan.halves)}, constants={len(self.plan.half_weights)}}}"

    def apply(self, model: Model) -> Outcome:
        """Edit `model` in place. Raises QdslError (float16-overflow) for a constant past float16's largest value, when
        it is written at the latest."""
        writer = _Writer(model, self.plan)
        for weight in self.plan.half_weights:
            writer.weight(weight)
        for half in self.plan.halves:
            writer.note(half)
        writer.cast()
        model.sort()
        return writer.changes.outcome()


class _Writer:
    def __init__(self, model: Model, plan: Float16Plan) -> None:
        self.changes = Changes()
        self._model = model
        self._recipe = plan.recipe
        self._nodes = {node.name: node for node in model.nodes()}
        self._constants: dict[str, gs.Constant] = {}
        self._widened: dict[str, gs.Variable] = {}
        self._written: dict[int, tuple[gs.Variable, Origin]] = {}
        self._wanted: dict[int, tuple[gs.Tensor, Origin, list[Slot]]] = {}
        self._slots: set[tuple[int, int]] = set()

    def weight(self, plan: Float16Weight) -> None:
        """A constant that is only stored as float16."""
        node = self._nodes[plan.node]
        if plan.tensor not in self._widened:
            stored = self._constant(node.inputs[plan.port])
            self._widened[plan.tensor] = self._cast(stored, "float32", plan.origin)
        replace_readers(self._model, self._widened[plan.tensor], [(node, plan.port)])
        self.changes.fire("weight", [plan.node])

    def note(self, plan: Float16Node) -> None:
        """Constants at once; what is computed waits until every node has said what it reads and writes."""
        node = self._nodes[plan.node]
        for port in plan.writes:
            self._written[id(node.outputs[port])] = node.outputs[port], plan.origin
            if node.op == "Cast":
                set_attr(node, "to", _NUMBERS["float16"])
        for port in plan.reads:
            tensor = node.inputs[port]
            if isinstance(tensor, gs.Constant):
                replace_readers(self._model, self._constant(tensor), [(node, port)])
                continue
            self._slots.add((id(node), port))
            self._wanted.setdefault(id(tensor), (tensor, plan.origin, []))[2].append((node, port))
        self.changes.fire("node", [plan.node])

    def cast(self) -> None:
        for key, (tensor, origin, slots) in self._wanted.items():
            if key not in self._written:
                replace_readers(self._model, self._cast(tensor, "float16", origin), slots)
        for tensor, origin in self._written.values():
            others = [(node, port) for node, port in readers_of(tensor) if (id(node), port) not in self._slots]
            public = self._model.is_output(tensor)
            set_element_type(tensor, "float16")
            if not others and not public:
                continue
            made = self._cast(tensor, "float32", origin)
            replace_readers(self._model, made, others)
            if public:
                replace_output(self._model, tensor, made)

    def _cast(self, tensor: gs.Tensor, kind: str, origin: Origin) -> gs.Variable:
        node = add_node(
            self._model,
            "Cast",
            [tensor],
            name=f"{tensor.name}_to_{kind}",
            output_name=f"{tensor.name}_{kind}",
            attrs={"to": _NUMBERS[kind]},
            like=tensor,
            element_type=kind,
            metadata={ORIGIN_KEY: origin_text(origin, self._recipe)},
        )
        made: gs.Variable = node.outputs[0]
        return made

    def _constant(self, tensor: gs.Constant) -> gs.Constant:
        """The constant as float16, one for all its readers."""
        if tensor.name not in self._constants:
            value = self._model.lazy(tensor.name)
            name, span = tensor.name, self._model.span

            def compute() -> np.ndarray[Any, Any]:
                return as_half(value.load(), name, span)

            self._constants[name] = add_deferred(self._model, f"{name}_float16", "float16", value.shape, compute)
        return self._constants[tensor.name]


def as_half(values: np.ndarray[Any, Any], name: str, span: Span | None = None) -> np.ndarray[Any, Any]:
    """`values` rounded to the nearest float16, infinities as they are. Raises QdslError (float16-overflow), at `span`,
    where a finite value becomes infinite."""
    with np.errstate(over="ignore"):
        made = np.asarray(values).astype(np.float16)
    if not np.array_equal(np.isinf(made), np.isinf(values)):
        largest = float(np.abs(values[np.isfinite(values)]).max())
        headline = f"constant `{name}` holds {largest:g}, past float16's largest value, 65504"
        raise QdslError([Diagnostic("float16-overflow", headline, span)])
    return made
