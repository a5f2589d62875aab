"""Make the plan's float16 nodes read and write float16, with one Cast per tensor where their neighbours differ.

Fires once per node of the plan. The constants that these nodes read are stored as float16; what float32 nodes or a
graph output read of a float16 tensor goes through one Cast to float32, and what float16 nodes read of a float32 tensor
through one Cast to float16. A pair with a float16 scale takes the types of what is around it, without Casts
(`half_pairs`). Constants that the plan only stores as float16 get a Cast to float32 behind them. A Cast of
the model's own that leads to float16 nodes alone casts to float16 itself.
Refuses a graph output that the body of an If, Loop or Scan reads by name, with an error: its name stands for float32.
Guarantees that graph inputs and outputs keep their names and types, that no Cast follows another one of this pass, and
that every Cast says under `qdsl.origin` which line of the recipe asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_deferred, add_node, readers_of, replace_output, replace_readers, set_attr
from qdsl.graph.edit_qdq import set_element_type
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.passes.float16_bytes import Float16Plan, float16_bytes
from qdsl.passes.half_pairs import HalfPairs
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_line
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.plan import Float16Node, Float16Weight, Origin, Plan

_SCALE = 1  # the port of Q and DQ that reads the scale
_NUMBERS = {"float32": 1, "float16": 10}  # onnx.in.proto, TensorProto.DataType
Slot = tuple[gs.Node, int]


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
        drawer = _Drawer(sketch, self.plan)
        for weight in self.plan.half_weights:
            drawer.weight(weight)
        for half in self.plan.halves:
            drawer.note(half)
        drawer.cast()
        return Foresight(drawer.changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        return -float16_bytes(view, plan)


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
        self._pairs = HalfPairs(plan, model.tensor)

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
            if self._pairs.noted(node, port):
                continue
            self._slots.add((id(node), port))
            self._wanted.setdefault(id(tensor), (tensor, plan.origin, []))[2].append((node, port))
        self.changes.fire("node", [plan.node])

    def cast(self) -> None:
        for tensor, slots in self._pairs.read():
            self._dequantize(tensor, slots)
        for key, (tensor, origin, slots) in self._wanted.items():
            if key not in self._written:
                replace_readers(self._model, self._cast(tensor, "float16", origin), slots)
        for tensor, origin in self._written.values():
            others = [(node, port) for node, port in readers_of(tensor) if (id(node), port) not in self._slots]
            others = [(node, port) for node, port in others if not self._quantize(node, port)]
            public = self._model.is_output(tensor)
            set_element_type(tensor, "float16")
            if not others and not public:
                continue
            made = self._cast(tensor, "float32", origin)
            replace_readers(self._model, made, others)
            if public:
                replace_output(self._model, tensor, made)

    def _quantize(self, node: gs.Node, port: int) -> bool:
        """Whether the port is that of a QuantizeLinear which reads float16, from now on."""
        if not self._pairs.quantizes(node, port):
            return False
        replace_readers(self._model, self._constant(node.inputs[_SCALE]), [(node, _SCALE)])
        return True

    def _dequantize(self, tensor: gs.Variable, slots: Sequence[Slot]) -> None:
        """What these ports read is dequantized to float16: by a node of its own where others read float32."""
        node = tensor.inputs[0]
        scale = self._constant(node.inputs[_SCALE])
        if len(slots) == len(readers_of(tensor)) and not self._model.is_output(tensor):
            replace_readers(self._model, scale, [(node, _SCALE)])
            set_element_type(tensor, "float16")
            return
        made = add_node(
            self._model,
            node.op,
            [node.inputs[0], scale, *node.inputs[_SCALE + 1 :]],
            name=f"{node.name}_float16",
            output_name=f"{tensor.name}_float16",
            attrs=dict(node.attrs),
            domain=node.domain or "",
            like=tensor,
            element_type="float16",
            metadata=meta_of(node).metadata,
        )
        replace_readers(self._model, made.outputs[0], slots)

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

    def __init__(self, sketch: Sketch, plan: Float16Plan) -> None:
        self.changes = Changes()
        self._sketch = sketch
        self._written: dict[int, Any] = {}
        self._wanted: dict[int, tuple[Any, list[Any]]] = {}
        self._pairs = HalfPairs(plan, sketch.tensor)

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
            elif not self._pairs.noted(node, port):
                self._wanted.setdefault(id(tensor), (tensor, []))[1].append((node, port))
        self.changes.fire("node", [plan.node])

    def cast(self) -> None:
        for tensor, slots in self._pairs.read():
            node = tensor.inputs[0]
            stored = [node.inputs[0], self._half(node.inputs[_SCALE]), *node.inputs[_SCALE + 1 :]]
            self._sketch.redirect(tensor, self._sketch.add(node.op, stored, "float16", node.domain), slots)
        for key, (tensor, slots) in self._wanted.items():
            if key not in self._written:
                self._sketch.redirect(tensor, self._sketch.add("Cast", [tensor], "float16"), slots)
        for key, tensor in self._written.items():
            halves = {(id(node), port) for node, port in self._wanted.get(key, (tensor, []))[1]}
            others = [(node, port) for node, port in readers_of(tensor) if (id(node), port) not in halves]
            others = [(node, port) for node, port in others if not self._pairs.quantizes(node, port)]
            tensor.dtype = "float16"
            if not others and not self._sketch.is_output(tensor):
                continue
            made = self._sketch.add("Cast", [tensor], "float32")
            self._sketch.redirect(tensor, made, others)
            if self._sketch.is_output(tensor):
                self._sketch.publish(tensor, made)

    def _half(self, tensor: gs.Constant) -> gs.Constant:
        return self._sketch.constant("float16", lazy_of(tensor).shape)


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
