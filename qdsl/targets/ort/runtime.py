"""What ONNX Runtime makes of a graph by itself, as planning asks it. Loads no runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qdsl.capability import Capability
from qdsl.graph import Model
from qdsl.graph.view import GraphView
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, edges_of_plan
from qdsl.rewrite import Trace
from qdsl.spec.plan import BiasPlan, Flag, Plan, Prediction, TensorPlan, WeightPlan
from qdsl.targets.base import Lack, Misread, Refusal
from qdsl.targets.lowerings import foreseen, saved
from qdsl.targets.onnx_size import float16_reads, kept_floats, predicted_bytes
from qdsl.targets.ort.predict import predict, predict_edges, refused_tensors
from qdsl.targets.results import Product


class OrtRuntime:
    """See `qdsl.targets.base.Runtime`."""

    copy = "Max"  # of one input: ONNX Runtime neither removes nor fuses it

    def predict(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
        ranges: Mapping[str, Interval] | None = None,
    ) -> dict[str, Prediction]:
        return predict(view, tensors, weights, biases, capability, ranges, lowered=True)

    def predict_edges(self, view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
        return predict_edges(view, edges, capability)

    def predict_dynamic(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        capability: Capability,
    ) -> dict[str, Prediction]:
        from qdsl.targets.ort.predict_dynamic import predict_dynamic

        return predict_dynamic(view, tensors, weights, capability)

    def refuses(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
    ) -> Refusal | None:
        found = refused_tensors(view, edges_of_plan(view, tensors, weights, biases), capability)
        if not found:
            return None
        return Refusal(
            found,
            "it carries a signed Q/DQ pair over to",
            f"signed activations at opset {view.opset}",
            "from opset 21 on, it rewrites such a pair to unsigned and then contradicts itself",
        )

    def lacks(self, view: GraphView, capability: Capability) -> Sequence[Lack]:
        return ()  # a file that it does not load is refused by itself, before anything is planned

    def misreads(self, model: Model, view: GraphView, products: Iterable[Product]) -> Misread | None:
        from qdsl.targets.ort.misread import misread

        return misread(model, view, products)

    def flags(self, view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
        return ()  # its table has rules of its own: `[[slow]]`

    def file_bytes(
        self, plan: Plan, view: GraphView, capability: Capability, float_bytes: int, carried: int = 0
    ) -> int:
        place = view.node_index
        weights = sorted(plan.weights, key=lambda weight: place[weight.node])
        tensors = {tensor.tensor: tensor for tensor in plan.tensors}
        if plan.mode == "dynamic":
            from qdsl.targets.dynamic_size import predicted_dynamic_bytes

            whole = predicted_dynamic_bytes(view, float_bytes, tensors, weights)
        else:
            whole = predicted_bytes(view, float_bytes, tensors.values(), weights, plan.biases)
        kept = kept_floats(view, weights, float16_reads(view, plan))
        return max(0, whole + kept - saved(view, plan, capability)) + carried

    def foresees(self, plan: Plan, view: GraphView, capability: Capability) -> Trace:
        return foreseen(view, plan, capability)
