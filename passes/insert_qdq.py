"""Write QuantizeLinear and DequantizeLinear where the plan says, and nowhere else.

For each planned tensor one QuantizeLinear and one DequantizeLinear, read by the planned readers; everything else stays
on the float value. Weights and biases become stored integers behind a DequantizeLinear of their own. Initializers for
scales are shared within a group, zero points of activations within the model; float constants that nobody reads any
more are gone. Each node that is written says in its `qdsl.origin` which rule and which recipe line asked for it.

Where the model's opset lacks a type or a granularity, that node is of the domain com.microsoft, which ONNX Runtime
takes at any opset (not so 2-bit types and blocks: raise the opset first, see `least_opset`).

Refused, with the reason, and left in float: a graph output that is a graph input too, or that the body of an If, Loop
or Scan reads by name, since the public name can stand for one value only.

Guarantees: after a Relu or a Clip with constant bounds (and a scheme that uses its whole type) the values that the
integers stand for lie inside those bounds whenever the group's range does, so that a runtime may drop the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.diag import QdslError
from qdsl.graph.edit import add_constant, add_deferred, add_node, replace_output, replace_readers
from qdsl.graph.model import Model
from qdsl.graph.moves import source
from qdsl.graph.view import GraphView
from qdsl.passes.origins import by_line
from qdsl.passes.pairs import PAIRS_AS_PLANNED
from qdsl.passes.qdq_parameters import Parameters, PlanLike, RangesLike, parameters, weight_key
from qdsl.quant import QParams, dequantize, limits, mean_shift, quantize, quantize_bias, quantize_weight
from qdsl.rewrite import Changes, Outcome, PlanFact, Rewrite
from qdsl.spec import DType, WeightKey
from qdsl.spec.opset import least_opset
from qdsl.spec.plan import BiasPlan, Origin, Reader, TensorPlan, WeightPlan

CONTRIB = "com.microsoft"
_OUTPUTS = {"QuantizeLinear": "quantized", "DequantizeLinear": "dequantized", "Clip": "clipped"}
# Integers that Clip takes, from which opset on.
CLIPPED = ("uint8", "int8")
CLIPS_INTEGERS = 12
_INT32 = DType("int32", 32, True, True, 10)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class InsertQDQ(Rewrite):
    """Options: the plan to carry out, the measured ranges, and the integers of weights that were chosen otherwise than
    by rounding each to the nearest."""

    plan: PlanLike
    ranges: RangesLike
    rounded: Mapping[WeightKey, Array] = field(default_factory=dict)

    name: ClassVar[str] = "insert_qdq"
    summary: ClassVar[str] = (
        "store planned weights as integers, write QuantizeLinear and DequantizeLinear on planned tensors"
    )
    ensures: ClassVar[tuple[PlanFact, ...]] = (PAIRS_AS_PLANNED,)

    def __str__(self) -> str:
        counts = (("tensors", self.plan.tensors), ("weights", self.plan.weights), ("biases", self.plan.biases))
        return f"{self.name}{{{', '.join(f'{word}={len(parts)}' for word, parts in counts)}}}"

    def apply(self, model: Model) -> Outcome:
        """Edit `model` in place. Raises QdslError for ranges that are missing or not finite and for weights that hold
        NaN or infinity; the model is then as it was."""
        if model.opset < least_opset(self.plan):
            raise _too_old(model, least_opset(self.plan))
        view = model.view()
        found = parameters(self.plan, self.ranges, view, model)
        writer = _Writer(model, view, found, self)
        for weight in self.plan.weights:
            writer.weight(weight)
        for bias in self.plan.biases:
            writer.bias(bias)
        for bias in self.plan.float_biases:
            writer.float_bias(bias)
        for tensor in self.plan.tensors:
            writer.tensor(tensor)
        model.sort()
        return writer.changes.outcome()


class _Writer:
    """Writes into one model. What several places share (a scale, a zero point, a stored weight) is written once."""

    def __init__(self, model: Model, view: GraphView, found: Parameters, job: InsertQDQ) -> None:
        plan = job.plan
        self.changes = Changes()
        self._model = model
        self._view = view
        self._found = found
        self._ranges = job.ranges
        self._rounded = job.rounded
        self._recipe = plan.recipe
        self._group_of = {tensor.tensor: tensor.group for tensor in plan.tensors}
        self._key_at = {(weight.node, weight.port): weight_key(weight, view) for weight in plan.weights}
        self._nodes = {node.name: node for node in model.nodes()}
        self._scales: dict[str, gs.Constant] = {}
        self._zeros: dict[tuple[DType, tuple[int, ...], bytes], gs.Constant] = {}
        self._weights: dict[WeightKey, gs.Variable] = {}
        self._biases: dict[tuple[str, str, WeightKey, str], gs.Variable] = {}

    def weight(self, plan: WeightPlan) -> None:
        key = self._key_at[plan.node, plan.port]
        if key not in self._weights:
            params, value = self._found.weights[key], self._model.lazy(plan.tensor)

            def compute() -> Array:
                return self._integers(key, value.load)

            stored = add_deferred(self._model, f"{plan.tensor}_quantized", params.dtype.element, value.shape, compute)
            scale = add_constant(self._model, f"{plan.tensor}_scale", params.scale, "float32")
            # One zero point each: the session option that makes x86 without VNNI exact rewrites them one by one.
            zero = add_constant(self._model, f"{plan.tensor}_zero_point", params.zero_point, params.dtype.element)
            inputs = [stored, scale, zero]
            self._weights[key] = self._dequantize(plan.tensor, inputs, params, plan.origin)
        self._redirect(plan.tensor, [Reader(plan.node, plan.port)], self._weights[key])
        self.changes.fire("weight", [plan.node])

    def bias(self, plan: BiasPlan) -> None:
        key, group = self._key_at[plan.node, plan.weight_port], self._group_of[plan.activation]
        moved = plan.node if plan.corrected_on is not None else ""
        known = (plan.tensor, group, key, moved)
        if known not in self._biases:
            step, of_weight = np.float32(self._found.groups[group].scale), self._found.weights[key].scale
            value = self._model.values(plan.tensor)
            if value.size == 1 and of_weight.ndim:
                value = np.broadcast_to(value.reshape(()), of_weight.shape)
            value = self._moved(plan, value, key) if moved else value
            ints, scales = quantize_bias(value, step, of_weight, plan.tensor, self._model.span)
            axis = None if scales.ndim == 0 else value.ndim - 1
            params = QParams(scales, np.zeros(scales.shape, np.int32), _INT32, axis)
            stored = add_constant(self._model, f"{plan.tensor}_quantized", ints, "int32")
            scale = add_constant(self._model, f"{plan.tensor}_scale", scales, "float32")
            made = self._dequantize(plan.tensor, [stored, scale], params, plan.origin)
            self._biases[known] = made
        self._redirect(plan.tensor, [Reader(plan.node, plan.port)], self._biases[known])
        self.changes.fire("bias", [plan.node])

    def float_bias(self, plan: BiasPlan) -> None:
        """A bias that stays float, moved: one of its own for each node."""
        key = self._key_at[plan.node, plan.weight_port]
        value = self._moved(plan, self._model.values(plan.tensor), key).astype(np.float32)
        made = add_constant(self._model, f"{plan.tensor}_corrected", value, "float32")
        self._redirect(plan.tensor, [Reader(plan.node, plan.port)], made)
        self.changes.fire("float_bias", [plan.node])

    def _moved(self, plan: BiasPlan, value: Array, key: WeightKey) -> Array:
        """The bias `value` less what the rounded weights add to the mean of each output channel."""
        weight, params = self._model.values(key.tensor), self._found.weights[key]
        stored = self._integers(key, lambda: weight)
        error = dequantize(stored, params).astype(np.float64) - weight
        node = self._nodes[plan.node]
        if node.op == "Gemm" and not node.attrs.get("transB", 0):
            error = error.T
        shift = mean_shift(error, np.asarray(self._ranges.means[plan.activation], np.float64))
        return np.asarray(value - (shift.reshape(value.shape) if value.size == shift.size else shift))

    def _integers(self, key: WeightKey, value: Callable[[], Array]) -> Array:
        """What is stored of the weight `key`, whose floats are `value`."""
        if key in self._rounded:
            return self._rounded[key]
        return quantize_weight(value(), key.scheme, self._found.weights[key], key.guard).values

    def tensor(self, plan: TensorPlan) -> None:
        tensor = self._model.tensor(plan.tensor)
        if tensor is None:
            raise ValueError(f"the plan names tensor {plan.tensor}, which this model does not have")
        writers = [node.name for node in tensor.inputs]
        readers, is_public = self._possible(plan, tensor)
        if not readers and not is_public:
            return
        params = self._found.groups[plan.group]
        if plan.group not in self._scales:
            self._scales[plan.group] = add_constant(self._model, f"{plan.group}_scale", params.scale, "float32")
        shared = [self._scales[plan.group], self._zero(plan.group, params)]
        stored = self._quantize(plan, tensor, params, shared)
        made = self._dequantize(plan.tensor, [stored, *shared], params, plan.origin)
        self._redirect(plan.tensor, readers, made)
        if is_public:
            replace_output(self._model, tensor, made)
        self.changes.fire("tensor", dict.fromkeys([*writers, *(reader.node for reader in readers)]))

    def _possible(self, plan: TensorPlan, tensor: gs.Tensor) -> tuple[list[Reader], bool]:
        """The readers of `plan` that are ports of nodes, and whether the graph output can read the new value, too."""
        ports = [reader for reader in plan.readers if reader.node and reader.port >= 0]
        for body in (reader for reader in plan.readers if reader.node and reader.port < 0):
            self.changes.refuse(body.node, f"its body reads `{plan.tensor}` by name, which stays the float value")
        if not any(not reader.node for reader in plan.readers):
            return ports, False
        if self._model.captured(tensor):
            self.changes.refuse(plan.tensor, "the graph output stays float: a body reads the tensor by this name")
            return ports, False
        if plan.tensor in self._view.inputs:
            self.changes.refuse(plan.tensor, "the graph output stays float: it is a graph input under the same name")
            return ports, False
        return ports, True

    def _quantize(
        self, plan: TensorPlan, tensor: gs.Tensor, params: QParams, shared: Sequence[gs.Constant]
    ) -> gs.Tensor:
        """The integers of `tensor`: written by a QuantizeLinear, or stored where the tensor is a constant."""
        if isinstance(tensor, gs.Constant):
            value = self._model.lazy(plan.tensor)
            return add_deferred(
                self._model,
                f"{plan.tensor}_quantized",
                params.dtype.element,
                value.shape,
                lambda: quantize(value.load(), params, limits(plan.scheme)),
            )
        held = plan.scheme.emulated_bits is not None and not self._inside(plan)
        as_integers = params.dtype.name in CLIPPED and self._model.opset >= CLIPS_INTEGERS
        if held and not as_integers:
            tensor = self._clip(plan, tensor, params)
        made = self._node("QuantizeLinear", plan.tensor, [tensor, *shared], params, plan.origin, params.dtype.element)
        return self._clip(plan, made, params, as_integers=True) if held and as_integers else made

    def _inside(self, plan: TensorPlan) -> bool:
        """Whether the values come from a tensor of the same scale that was held to its limits already."""
        writer = self._view.producer(plan.tensor)
        origin = None if writer is None else source(writer)
        return origin is not None and self._group_of.get(origin) == plan.group

    def _clip(self, plan: TensorPlan, tensor: gs.Tensor, params: QParams, *, as_integers: bool = False) -> gs.Variable:
        """A width that no type has: the values are held to those that it can stand for. As integers, so that nothing
        stands between an operator and its Q or DQ; as floats where Clip does not take the integers."""
        ends: list[Any] = list(limits(plan.scheme))
        if not as_integers:
            ends = [np.float32(end - int(params.zero_point)) * params.scale for end in ends]
        kind = params.dtype.name if as_integers else "float32"
        low, high = (
            add_constant(self._model, f"{plan.tensor}_{word}", np.asarray(end, kind), kind)
            for word, end in zip(("lowest", "highest"), ends, strict=True)
        )
        return self._node("Clip", plan.tensor, [tensor, low, high], None, plan.origin, kind)

    def _dequantize(self, name: str, inputs: Sequence[gs.Tensor], params: QParams, origin: Origin) -> gs.Variable:
        return self._node("DequantizeLinear", name, inputs, params, origin, "float32")

    def _node(
        self,
        op: str,
        name: str,
        inputs: Sequence[gs.Tensor],
        params: QParams | None,
        origin: Origin,
        element_type: str,
    ) -> gs.Variable:
        """A node `<name>_<op>`, and the tensor it writes."""
        attrs = {} if params is None or params.axis is None else {"axis": params.axis}
        attrs |= {} if params is None or params.block is None else {"block_size": params.block}
        node = add_node(
            self._model,
            op,
            inputs,
            name=f"{name}_{op}",
            output_name=f"{name}_{_OUTPUTS[op]}",
            attrs=attrs,
            domain="" if params is None or self._model.opset >= _opset_of(params) else CONTRIB,
            like=inputs[0],
            element_type=element_type,
            metadata=by_line(origin, self._recipe),
        )
        made: gs.Variable = node.outputs[0]
        return made

    def _zero(self, name: str, params: QParams) -> gs.Constant:
        """The zero point as a constant, one for all that are equal."""
        zero = params.zero_point
        key = (params.dtype, zero.shape, zero.tobytes())
        if key not in self._zeros:
            alike = zero.size > 0 and bool((zero == zero.flat[0]).all())
            shape = "".join(f"_{dim}" for dim in zero.shape)
            value = str(zero.flat[0]).replace("-", "minus_") if alike else name
            called = f"zero_point_{params.dtype}_{value}{shape}"
            self._zeros[key] = add_constant(self._model, called, zero, params.dtype.element)
        return self._zeros[key]

    def _redirect(self, name: str, readers: Sequence[Reader], to: gs.Tensor) -> None:
        tensor = self._model.tensor(name)
        for reader in readers:
            node = self._nodes.get(reader.node)
            if node is None or reader.port >= len(node.inputs) or node.inputs[reader.port] is not tensor:
                raise ValueError(f"the plan says that {reader.node} reads {name} at port {reader.port}: another model?")
        replace_readers(self._model, to, [(self._nodes[reader.node], reader.port) for reader in readers])


def _opset_of(params: QParams) -> int:
    """The first ai.onnx opset whose QuantizeLinear and DequantizeLinear (schemas -10, -13, -21, -25) take `params`."""
    granularity = 10 if params.axis is None else 13 if params.block is None else 21
    return max(granularity, params.dtype.qdq_opset or 10)


def _too_old(model: Model, needed: int) -> QdslError:
    headline = f"`{model.name}` has opset {model.opset}; the types of this plan need {needed}"
    return model.error("model-upgrade", headline, help=[f"export the model again with opset {needed}"])
