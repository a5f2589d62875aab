"""Compute planned Conv, MatMul and Gemm nodes in integers whose activations are quantized while the model runs.

For each planned tensor one DynamicQuantizeLinear, read by all planned readers. A Conv becomes ConvInteger, a MatMul or
Gemm MatMulInteger; Cast and Mul bring the int32 sums back to floats, by the product of the tensor's scale and the
weight's (one per channel, or one), and Add puts the bias in. The node keeps its name; what it wrote keeps name, readers
and place among the graph outputs. alpha and beta of a Gemm go into constants, a transposed weight is stored as it is
multiplied. Each node that is written says in its `qdsl.origin` which rule and which recipe line asked for it.

Beside unsigned weights a ConvInteger reads its activations as int8: the same integers less 128, written by a
QuantizeLinear from the scale that was just found. Padding is with the zero point, which stands for 0 exactly.

Refused: nothing. Guarantees: up to the rounding of float32 the results are those of the real numbers that the stored
weights and the integers of the activations stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph.edit import add_constant, add_deferred, add_node, add_variable, become, exchange_outputs
from qdsl.graph.model import Model
from qdsl.passes.origins import by_line, mark
from qdsl.passes.qdq_parameters import PlanLike
from qdsl.quant import QParams, quantize_weight, weight_parameters
from qdsl.rewrite import Changes, Outcome, Rewrite
from qdsl.spec.plan import Origin, TensorPlan, WeightPlan

_OFFSET = 128  # from uint8 to int8
_FLOAT, _INT32, _INT8 = (int(getattr(TensorProto, name)) for name in ("FLOAT", "INT32", "INT8"))
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class QuantizeDynamic(Rewrite):
    """Options: the plan to carry out."""

    plan: PlanLike

    name: ClassVar[str] = "quantize_dynamic"
    summary: ClassVar[str] = "compute planned Conv, MatMul and Gemm in integers, activations quantized at run time"

    def __str__(self) -> str:
        return f"{self.name}{{tensors={len(self.plan.tensors)}, weights={len(self.plan.weights)}}}"

    def apply(self, model: Model) -> Outcome:
        """Edit `model` in place. Raises QdslError for weights that hold NaN or infinity; the model is then as it
        was."""
        writer = _Writer(model, self.plan, _parameters(model, self.plan.weights))
        for weight in self.plan.weights:
            writer.node(weight)
        model.sort()
        return writer.changes.outcome()


def _parameters(model: Model, weights: Sequence[WeightPlan]) -> dict[WeightPlan, QParams]:
    """Scale and zero point of every planned weight. Raises QdslError with every weight that has none."""
    found: dict[WeightPlan, QParams] = {}
    known: dict[tuple[object, ...], QParams] = {}
    wrong: dict[str, tuple[Diagnostic, ...]] = {}
    for plan in weights:
        key = (plan.tensor, plan.scheme, plan.axis, plan.guard)
        if plan.tensor in wrong:
            continue
        if model.tensor(plan.tensor) is None:
            raise ValueError(f"the plan names weight {plan.tensor}, which this model does not have: another model?")
        try:
            if key not in known:
                value = model.values(plan.tensor)
                known[key] = weight_parameters(value, plan.scheme, plan.axis, plan.tensor, plan.guard)
            found[plan] = known[key]
        except QdslError as error:
            wrong[plan.tensor] = tuple(error.diagnostics)
    if wrong:
        raise model.errors(one for diagnostics in wrong.values() for one in diagnostics)
    return found


@dataclass(frozen=True, slots=True)
class _Integers:
    """A tensor as integers, with the scale and the zero point that it is read by. The scale of a weight is shaped to
    multiply what the operator writes."""

    values: gs.Tensor
    scale: gs.Tensor
    zero_point: gs.Tensor


class _Writer:
    """Writes into one model. What several nodes share (an activation's integers, a weight) is written once."""

    def __init__(self, model: Model, plan: PlanLike, parameters: Mapping[WeightPlan, QParams]) -> None:
        self.changes = Changes()
        self._model = model
        self._recipe = plan.recipe
        self._parameters = parameters
        self._nodes = {node.name: node for node in model.nodes()}
        self._plan_at = {reader.node: tensor for tensor in plan.tensors for reader in tensor.readers}
        self._unsigned: dict[tuple[str, bool], _Integers] = {}
        self._signed: dict[str, _Integers] = {}
        self._weights: dict[tuple[object, ...], _Integers] = {}
        self._constants: dict[tuple[str, object], gs.Constant] = {}

    def node(self, weight: WeightPlan) -> None:
        """Bring one node into its integer form."""
        node, tensor = self._nodes.get(weight.node), self._plan_at.get(weight.node)
        if node is None or tensor is None or node.inputs[0].name != tensor.tensor:
            raise ValueError(f"the plan says that {weight.node} reads integers at port 0: another model?")
        if node.op == "Conv":
            self._conv(node, tensor, weight)
        else:
            self._matrix(node, tensor, weight)
        self.changes.fire("node", [weight.node])

    def _conv(self, node: gs.Node, tensor: TensorPlan, weight: WeightPlan) -> None:
        read = self._activation(tensor, transposed=False)
        if not weight.scheme.dtype.signed:
            read = self._less_128(tensor, read)
        shape = (-1, *(1,) * (len(node.inputs[weight.port].shape) - 2))
        bias = _input(node, 2)
        if bias is not None:
            bias = self._shaped(bias, shape, weight.origin)
        self._finish(node, "ConvInteger", read, self._weight(weight, shape), bias, weight.origin)

    def _matrix(self, node: gs.Node, tensor: TensorPlan, weight: WeightPlan) -> None:
        attrs: dict[str, Any] = dict(node.attrs) if node.op == "Gemm" else {}
        read = self._activation(tensor, transposed=bool(attrs.get("transA", 0)))
        turned, factor = bool(attrs.get("transB", 0)), float(attrs.get("alpha", 1.0))
        bias = _input(node, 2)
        if bias is not None:
            bias = self._times(bias, float(attrs.get("beta", 1.0)), weight.origin)
        self._finish(node, "MatMulInteger", read, self._weight(weight, (-1,), factor, turned), bias, weight.origin)

    def _finish(
        self, node: gs.Node, op: str, read: _Integers, weight: _Integers, bias: gs.Tensor | None, origin: Origin
    ) -> None:
        """`node` becomes `op`; the end of what follows it writes the tensor that it wrote."""
        made, name = node.outputs[0], node.name
        inputs = [read.values, weight.values, read.zero_point, weight.zero_point]
        become(self._model, node, op, inputs, dict(node.attrs) if op == "ConvInteger" else {})
        mark(node, by_line(origin, self._recipe))
        sums = add_variable(self._model, f"{name}_sums", "int32", made.shape)
        factors = [read.scale, weight.scale]
        shape = weight.scale.shape
        scale = self._add("Mul", f"{name}_Mul_scales", factors, self._variable(f"{name}_scale", shape), origin)
        floats = self._variable(f"{name}_sums_float", made.shape)
        self._add("Cast", f"{name}_Cast", [sums], floats, origin, to=_FLOAT)
        product = sums if bias is None else self._variable(f"{name}_scaled", made.shape)
        last = self._add("Mul", f"{name}_Mul", [floats, scale.outputs[0]], product, origin)
        if bias is not None:
            last = self._add("Add", f"{name}_Add", [product, bias], sums, origin)
        exchange_outputs(self._model, node, last)

    # --- what is multiplied -----------------------------------------------------------------------------------------

    def _activation(self, plan: TensorPlan, *, transposed: bool) -> _Integers:
        """The tensor as uint8, in rows and columns exchanged where `transposed`."""
        key = (plan.tensor, transposed)
        if key in self._unsigned:
            return self._unsigned[key]
        source = self._model.tensor(plan.tensor)
        if source is None:
            raise ValueError(f"the plan names tensor {plan.tensor}, which this model does not have")
        name = f"{plan.tensor}_transposed" if transposed else plan.tensor
        if transposed:
            turned = self._variable(name, None if source.shape is None else tuple(reversed(source.shape)))
            self._add("Transpose", f"{plan.tensor}_Transpose", [source], turned, plan.origin, perm=[1, 0])
            source = turned
        values = self._variable(f"{name}_quantized", source.shape, "uint8")
        scale, zero = self._variable(f"{name}_scale", ()), self._variable(f"{name}_zero_point", (), "uint8")
        self._add(
            "DynamicQuantizeLinear", f"{name}_DynamicQuantizeLinear", [source], [values, scale, zero], plan.origin
        )
        self._unsigned[key] = _Integers(values, scale, zero)
        return self._unsigned[key]

    def _less_128(self, plan: TensorPlan, read: _Integers) -> _Integers:
        """The same tensor as int8 with the same scale: each integer, and the zero point, less 128."""
        name, origin = plan.tensor, plan.origin
        if name in self._signed:
            return self._signed[name]
        wide = self._variable(f"{name}_zero_point_int32", (), "int32")
        less = self._variable(f"{name}_zero_point_less_128", (), "int32")
        zero = self._variable(f"{name}_zero_point_int8", (), "int8")
        offset = self._constant("zero_point_offset", np.asarray(_OFFSET, np.int32))
        self._add("Cast", f"{name}_Cast_zero_point", [read.zero_point], wide, origin, to=_INT32)
        self._add("Sub", f"{name}_Sub_zero_point", [wide, offset], less, origin)
        self._add("Cast", f"{name}_Cast_int8", [less], zero, origin, to=_INT8)
        source = self._model.tensor(name)
        values = self._variable(f"{name}_quantized_int8", read.values.shape, "int8")
        self._add("QuantizeLinear", f"{name}_QuantizeLinear", [source, read.scale, zero], values, origin)
        self._signed[name] = _Integers(values, read.scale, zero)
        return self._signed[name]

    def _weight(
        self, plan: WeightPlan, shape: tuple[int, ...], factor: float = 1.0, transposed: bool = False
    ) -> _Integers:
        """The weight as integers; its scale, times `factor`, in `shape` (one per channel) or without dimensions."""
        key = (plan.tensor, plan.scheme, plan.axis, plan.guard, shape, factor, transposed)
        if key in self._weights:
            return self._weights[key]
        params, scheme, value = self._parameters[plan], plan.scheme, self._model.lazy(plan.tensor)

        def compute() -> Array:
            integers = quantize_weight(value.load(), scheme, params, plan.guard).values
            return np.ascontiguousarray(integers.T) if transposed else integers

        dims = tuple(reversed(value.shape)) if transposed else value.shape
        stored = add_deferred(self._model, f"{plan.tensor}_quantized", params.dtype.name, dims, compute)
        scales = np.asarray(params.scale.astype(np.float64) * factor, np.float32)
        scale = scales.reshape(shape) if params.axis is not None else scales.reshape(())
        zero = params.zero_point.reshape(-1)[:1].reshape(())  # all are equal: a plan has no others
        self._weights[key] = _Integers(
            stored,
            add_constant(self._model, f"{plan.tensor}_scale", scale, "float32"),
            self._constant(f"zero_point_{params.dtype}_{zero}", zero),
        )
        return self._weights[key]

    # --- what is added ----------------------------------------------------------------------------------------------

    def _shaped(self, bias: gs.Tensor, shape: tuple[int, ...], origin: Origin) -> gs.Tensor:
        """A bias over channels, shaped to be added to what a Conv writes."""
        if len(shape) == 1:
            return bias
        if not isinstance(bias, gs.Constant):
            target = self._constant(f"bias_shape_{len(shape)}", np.asarray(shape, np.int64))
            made = self._variable(f"{bias.name}_shaped", None)
            return self._add("Reshape", f"{bias.name}_Reshape", [bias, target], made, origin).outputs[0]
        return self._constant(f"{bias.name}_shaped", self._model.values(bias.name).reshape(shape))

    def _times(self, bias: gs.Tensor, beta: float, origin: Origin) -> gs.Tensor:
        """The C of a Gemm, times beta."""
        if beta == 1.0:
            return bias
        if not isinstance(bias, gs.Constant):
            factor = self._constant("beta", np.asarray(beta, np.float32))
            made = self._variable(f"{bias.name}_times_beta", bias.shape)
            return self._add("Mul", f"{bias.name}_Mul_beta", [bias, factor], made, origin).outputs[0]
        values = self._model.values(bias.name).astype(np.float64) * beta
        return self._constant(f"{bias.name}_times_beta", np.asarray(values, np.float32))

    def _constant(self, name: str, values: Array) -> gs.Constant:
        """A constant, one for all that are equal and called the same."""
        key = (name, values.tobytes())
        if key not in self._constants:
            self._constants[key] = add_constant(self._model, name, values)
        return self._constants[key]

    def _variable(self, name: str, shape: Sequence[int | str] | None, kind: str = "float32") -> gs.Variable:
        return add_variable(self._model, name, kind, shape)

    def _add(
        self,
        op: str,
        name: str,
        inputs: Sequence[gs.Tensor],
        outputs: gs.Variable | Sequence[gs.Variable],
        origin: Origin,
        **attrs: Any,
    ) -> gs.Node:
        written = [outputs] if isinstance(outputs, gs.Variable) else outputs
        metadata = by_line(origin, self._recipe)
        return add_node(self._model, op, inputs, written, name=name, attrs=attrs, metadata=metadata)


def _input(node: gs.Node, port: int) -> gs.Tensor | None:
    """What stands at an optional port."""
    return node.inputs[port] if len(node.inputs) > port and node.inputs[port].name else None
