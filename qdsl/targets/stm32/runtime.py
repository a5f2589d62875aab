"""What the emitted C makes of a graph, as planning asks it: what is written down, and nothing of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qdsl.capability import Capability
from qdsl.graph import Model
from qdsl.graph.view import GraphView
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, edges_of_plan
from qdsl.predict.rules import judge
from qdsl.rewrite import Trace
from qdsl.spec.plan import BiasPlan, Flag, Plan, Prediction, TensorPlan, WeightPlan
from qdsl.targets.base import Lack, Misread, Refusal
from qdsl.targets.lowerings import foreseen
from qdsl.targets.onnx_size import kept_floats, predicted_bytes
from qdsl.targets.results import Product
from qdsl.targets.stm32.lacking import lacks
from qdsl.targets.stm32.predict_dynamic import predict_dynamic


class Stm32Runtime:
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
        return judge(view, edges_of_plan(view, tensors, weights, biases, ranges), capability)

    def predict_edges(self, view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
        return judge(view, edges, capability)

    def predict_dynamic(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        capability: Capability,
    ) -> dict[str, Prediction]:
        return predict_dynamic(view, weights, capability)

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
        return lacks(view, capability)

    def misreads(self, model: Model, view: GraphView, products: Iterable[Product]) -> Misread | None:
        return None  # the kernels compute what the integer graph says, which `verify` holds them to

    def flags(self, view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
        return ()

    def file_bytes(
        self, plan: Plan, view: GraphView, capability: Capability, float_bytes: int, carried: int = 0
    ) -> int:
        """Of the ONNX file that the C is made of. What the C takes of a board is another figure: `flash`."""
        weights = sorted(plan.weights, key=lambda weight: view.node_index[weight.node])
        if plan.mode == "dynamic":
            from qdsl.targets.dynamic_size import predicted_dynamic_bytes

            tensors = {tensor.tensor: tensor for tensor in plan.tensors}
            return predicted_dynamic_bytes(view, float_bytes, tensors, weights) + carried
        whole = predicted_bytes(view, float_bytes, plan.tensors, weights, plan.biases)
        return max(0, whole + kept_floats(view, weights, ())) + carried

    def foresees(self, plan: Plan, view: GraphView, capability: Capability) -> Trace:
        return foreseen(view, plan, capability)
