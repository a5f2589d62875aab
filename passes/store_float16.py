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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_deferred, add_node, readers_of, replace_output, replace_readers, set_attr
from qdsl.graph.edit_qdq import set_element_type
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView, Use
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_line
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.plan import Float16Node, Float16Weight, Origin, Plan

# Bytes in an ONNX file: of a Cast beside its names, of what is declared of a tensor beside its name
# and dims, of an initializer beside its name and data.
_CAST = 60
_DECLARED = 16
_CONSTANT = 16
_DIM = 5
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

    @classmethod
    def of(cls, plan: Plan) -> Self:
        return cls(plan)

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """The plan says what they run as."""
        drawer = _Drawer(sketch)
        for weight in self.plan.half_weights:
            drawer.weight(weight)
        for half in self.plan.halves:
            drawer.note(half)
        drawer.cast()
        return Foresight(drawer.changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        return -sum((*_constants(view, plan), *_casts(view, plan), *_stored(view, plan)))


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
            metadata=by_line(origin, self._recipe),
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


class _Drawer:
    """Draws on a sketch what `_Writer` writes into a model."""

    def __init__(self, sketch: Sketch) -> None:
        self.changes = Changes()
        self._sketch = sketch
        self._written: dict[int, Any] = {}
        self._wanted: dict[int, tuple[Any, list[Any]]] = {}

    def weight(self, plan: Float16Weight) -> None:
        node = self._sketch.node(plan.node)
        stored = self._half(node.inputs[plan.port])
        self._sketch.redirect(
            node.inputs[plan.port], self._sketch.add("Cast", [stored], "float32"), [(node, plan.port)]
        )
        self.changes.fire("weight", [plan.node])

    def note(self, plan: Float16Node) -> None:
        node = self._sketch.node(plan.node)
        self._written |= {id(node.outputs[port]): node.outputs[port] for port in plan.writes}
        for port in plan.reads:
            tensor = node.inputs[port]
            if isinstance(tensor, gs.Constant):
                self._sketch.redirect(tensor, self._half(tensor), [(node, port)])
            else:
                self._wanted.setdefault(id(tensor), (tensor, []))[1].append((node, port))
        self.changes.fire("node", [plan.node])

    def cast(self) -> None:
        for key, (tensor, slots) in self._wanted.items():
            if key not in self._written:
                self._sketch.redirect(tensor, self._sketch.add("Cast", [tensor], "float16"), slots)
        for key, tensor in self._written.items():
            halves = {(id(node), port) for node, port in self._wanted.get(key, (tensor, []))[1]}
            others = [(node, port) for node, port in readers_of(tensor) if (id(node), port) not in halves]
            tensor.dtype = "float16"
            if not others and not self._sketch.is_output(tensor):
                continue
            made = self._sketch.add("Cast", [tensor], "float32")
            self._sketch.redirect(tensor, made, others)
            if self._sketch.is_output(tensor):
                self._sketch.publish(tensor, made)

    def _half(self, tensor: gs.Constant) -> gs.Constant:
        return self._sketch.constant("float16", lazy_of(tensor).shape)


def float16_reads(view: GraphView, plan: Float16Plan) -> set[tuple[int, int]]:
    """Where float16 is read: nodes and ports."""
    reads = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    return reads | {(view.node_index[weight.node], weight.port) for weight in plan.half_weights}


def _constants(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    """Each constant is stored at half its size; once more where a float32 node reads it, too."""
    reads = float16_reads(view, plan)
    for name, tensor in view.tensors.items():
        uses = {(use.node, use.port) for use in tensor.uses}
        if tensor.kind != "constant" or not uses & reads:
            continue
        elements = tensor.elements or 0
        yield len("_float16") * (1 + len(uses & reads))
        yield 2 * elements + _CONSTANT + len(name) if uses - reads or tensor.is_output else -2 * elements


def _casts(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    for name, kinds in _between(view, plan).items():
        for kind, uses in kinds.items():
            yield _cast(view, name, f"_{kind}") + len(uses) * (1 + len(kind))


def _stored(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    """A Cast for each constant that float32 nodes read."""
    for name in sorted({weight.tensor for weight in plan.half_weights}):
        yield _cast(view, name, "_float16_float32")


def _cast(view: GraphView, name: str, end: str) -> int:
    rank = len(view.tensors[name].shape or ())
    return _CAST + 4 * len(name) + 3 * len(end) + _DECLARED + _DIM * rank


def _between(view: GraphView, plan: Float16Plan) -> dict[str, dict[str, list[Use]]]:
    """The Casts between float16 and float32 nodes: by tensor, then by the type cast to, the ports that read it. A graph
    output reads float32; constants have none."""
    written = {view.node(half.node).outputs[port] for half in plan.halves for port in half.writes}
    wanted = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    found: dict[str, dict[str, list[Use]]] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant":
            continue
        for use in tensor.uses:
            to = "float16" if (use.node, use.port) in wanted else "float32"
            if (to == "float16") != (name in written):
                found.setdefault(name, {}).setdefault(to, []).append(use)
        if tensor.is_output and name in written:
            found.setdefault(name, {}).setdefault("float32", [])
    return found


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
