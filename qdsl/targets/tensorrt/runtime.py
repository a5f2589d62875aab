"""What TensorRT makes of a graph by itself, as planning asks it. Loads no TensorRT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qdsl.capability import Capability
from qdsl.graph import Model
from qdsl.graph.view import GraphView
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, edges_of_plan
from qdsl.predict.operators import refused_by_tensorrt
from qdsl.rewrite import Trace
from qdsl.spec.plan import BiasPlan, Flag, Plan, Prediction, TensorPlan, WeightPlan
from qdsl.targets.base import Lack, Misread, Refusal
from qdsl.targets.lacking import operators_lacking
from qdsl.targets.lowerings import foreseen, saved
from qdsl.targets.onnx_size import float16_reads, kept_floats, predicted_bytes
from qdsl.targets.results import Product
from qdsl.targets.tensorrt.predict import predict_edges


class TensorrtRuntime:
    """See `qdsl.targets.base.Runtime`."""

    copy = "Identity"

    def predict(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
        ranges: Mapping[str, Interval] | None = None,
    ) -> dict[str, Prediction]:
        return predict_edges(view, edges_of_plan(view, tensors, weights, biases, ranges), capability)

    def predict_edges(self, view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
        return predict_edges(view, edges, capability)

    def predict_dynamic(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        capability: Capability,
    ) -> dict[str, Prediction]:
        raise NotImplementedError("its table has no rules for dynamic builds")

    def refuses(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
    ) -> Refusal | None:
        """Nothing that a plan can ask for once the table took its types."""
        return None

    def lacks(self, view: GraphView, capability: Capability) -> Sequence[Lack]:
        """Operators of ONNX Runtime alone, such as FusedConv: the parser finds no plugin of that name."""
        found = [node for node in view.nodes if refused_by_tensorrt(node)]
        cure = "give it the model as it was before an optimizer of another runtime wrote these"
        return operators_lacking(found, capability.title, "it would refuse the file", cure)

    def misreads(self, model: Model, view: GraphView, products: Iterable[Product]) -> Misread | None:
        """Unknown: no engine is run here."""
        return None

    def flags(self, view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
        from qdsl.targets.tensorrt.slow import slow_flags

        return slow_flags(view, predictions)

    def file_bytes(
        self, plan: Plan, view: GraphView, capability: Capability, float_bytes: int, carried: int = 0
    ) -> int:
        place = view.node_index
        weights = sorted(plan.weights, key=lambda weight: place[weight.node])
        whole = predicted_bytes(view, float_bytes, plan.tensors, weights, plan.biases)
        kept = kept_floats(view, weights, float16_reads(view, plan))
        return max(0, whole + kept - saved(view, plan, capability)) + carried

    def foresees(self, plan: Plan, view: GraphView, capability: Capability) -> Trace:
        return foreseen(view, plan, capability)
