"""The graph that carrying out a plan gives, as a sketch: before there are ranges, and without a model to write in.

Has the nodes that `insert_qdq` and `quantize_dynamic` write, as far as lowerings look at them: names, and constants'
values, are not among that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qdsl.graph.moves import source
from qdsl.graph.view import GraphView
from qdsl.passes.insert_qdq import CLIPPED, CLIPS_INTEGERS, CONTRIB
from qdsl.passes.qdq_parameters import weight_key
from qdsl.rewrite import PairsPlan
from qdsl.rewrite.sketch import Sketch, Slot
from qdsl.spec import Granularity, Scheme, WeightKey
from qdsl.spec.plan import BiasPlan, TensorPlan, WeightPlan

_BLOCKS_OPSET, _AXES_OPSET, _PAIRS_OPSET = 21, 13, 10


class PlanLike(PairsPlan, Protocol):
    """The part of a plan that says who computes in integers."""

    @property
    def mode(self) -> str: ...


def planned(view: GraphView, plan: PlanLike) -> Sketch:
    """The graph of `view` once `plan` is carried out. Linear in its size."""
    sketch = Sketch(view)
    if plan.mode == "dynamic":
        _draw_dynamic(sketch, plan)
        return sketch
    pairs = _Pairs(sketch, plan)
    for weight in plan.weights:
        pairs.weight(weight)
    for bias in plan.biases:
        pairs.bias(bias)
    for tensor in plan.tensors:
        pairs.tensor(tensor)
    return sketch


def _draw_dynamic(sketch: Sketch, plan: PlanLike) -> None:
    """Planned nodes in their integer form, and the product behind each that makes floats of its sums."""
    integers = {each.tensor: _at_run_time(sketch, each.tensor) for each in plan.tensors}
    for tensor in plan.tensors:
        for reader in tensor.readers:
            node = sketch.node(reader.node)
            sketch.redirect(sketch.tensor(tensor.tensor), integers[tensor.tensor], [(node, reader.port)])
            node.op = "ConvInteger" if node.op == "Conv" else "MatMulInteger"
            written = node.outputs[0]
            node.outputs[0] = sums = sketch.add("Sums", [], "int32", like=written)
            sums.inputs[:] = [node]
            floats = sketch.add("Mul", [sums], "float32")
            floats.inputs[0].outputs[0] = written
            written.inputs[:] = floats.inputs


def _at_run_time(sketch: Sketch, name: str) -> Any:
    return sketch.add("DynamicQuantizeLinear", [sketch.tensor(name)], "uint8")


class _Pairs:
    """Draws the pairs of a static plan."""

    def __init__(self, sketch: Sketch, plan: PlanLike) -> None:
        self._sketch = sketch
        self._group_of = {tensor.tensor: tensor.group for tensor in plan.tensors}
        self._shared: dict[str, list[Any]] = {}
        self._stored: dict[WeightKey, Any] = {}

    def weight(self, plan: WeightPlan) -> None:
        key = weight_key(plan, self._sketch.view)
        tensor = self._sketch.tensor(plan.tensor)
        if key not in self._stored:
            shape = tuple(tensor.shape)
            scales = () if key.axis is None else shape if plan.scheme.block else (shape[key.axis],)
            parts = [self._sketch.constant(kind, scales) for kind in ("float32", plan.scheme.dtype.element)]
            stored = [self._sketch.constant(plan.scheme.dtype.element, shape), *parts]
            self._stored[key] = self._dequantize(stored, plan.scheme)
        self._sketch.redirect(tensor, self._stored[key], [self._slot(plan.node, plan.port)])

    def bias(self, plan: BiasPlan) -> None:
        tensor = self._sketch.tensor(plan.tensor)
        stored = [self._sketch.constant(kind, tuple(tensor.shape)) for kind in ("int32", "float32")]
        made = self._sketch.add("DequantizeLinear", stored, "float32")
        self._sketch.redirect(tensor, made, [self._slot(plan.node, plan.port)])

    def tensor(self, plan: TensorPlan) -> None:
        sketch, tensor = self._sketch, self._sketch.tensor(plan.tensor)
        slots = [self._slot(reader.node, reader.port) for reader in plan.readers if reader.node and reader.port >= 0]
        public = any(not reader.node for reader in plan.readers)
        public = public and not sketch.captured(tensor) and plan.tensor not in sketch.view.inputs
        if not slots and not public:
            return
        kind = plan.scheme.dtype.element
        if plan.group not in self._shared:
            self._shared[plan.group] = [sketch.constant("float32", ()), sketch.constant(kind, ())]
        shared = self._shared[plan.group]
        made = self._dequantize([self._integers(plan, tensor, shared), *shared], plan.scheme)
        sketch.redirect(tensor, made, slots)
        if public:
            sketch.publish(tensor, made)

    def _integers(self, plan: TensorPlan, tensor: Any, shared: list[Any]) -> Any:
        sketch, kind = self._sketch, plan.scheme.dtype.element
        if sketch.view.is_constant(plan.tensor):
            return sketch.constant(kind, tuple(tensor.shape))
        held = plan.scheme.emulated_bits is not None and not self._inside(plan)
        as_integers = kind in CLIPPED and sketch.opset >= CLIPS_INTEGERS
        if held and not as_integers:
            tensor = sketch.add("Clip", [tensor], "float32")
        made = sketch.add("QuantizeLinear", [tensor, *shared], kind, self._domain(plan.scheme))
        return sketch.add("Clip", [made], kind) if held and as_integers else made

    def _inside(self, plan: TensorPlan) -> bool:
        """Whether the values come from a tensor of the same scale that was held to its limits already."""
        writer = self._sketch.view.producer(plan.tensor)
        origin = None if writer is None else source(writer)
        return origin is not None and self._group_of.get(origin) == plan.group

    def _dequantize(self, inputs: Sequence[Any], scheme: Scheme) -> Any:
        return self._sketch.add("DequantizeLinear", inputs, "float32", self._domain(scheme))

    def _domain(self, scheme: Scheme) -> str:
        """The runtime's own, where the model's opset lacks the type or the granularity."""
        by_channel = scheme.granularity is Granularity.PER_CHANNEL
        granularity = _BLOCKS_OPSET if scheme.block else _AXES_OPSET if by_channel else _PAIRS_OPSET
        needed = max(granularity, scheme.dtype.qdq_opset or _PAIRS_OPSET)
        return "" if self._sketch.opset >= needed else CONTRIB

    def _slot(self, node: str, port: int) -> Slot:
        return self._sketch.node(node), port
