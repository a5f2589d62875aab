"""Says, per node, what a target will run in integers, without running it: from the plan and the target's table alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdsl.capability import Capability
from qdsl.graph.view import GraphView
from qdsl.plan.predict_bounds import Interval
from qdsl.plan.predict_edges import Edges, edges_of_plan
from qdsl.plan.predict_rules import judge
from qdsl.plan.predict_spread import spread
from qdsl.plan.types import BiasPlan, Prediction, TensorPlan, WeightPlan


def predict(
    view: GraphView,
    tensors: Mapping[str, TensorPlan],
    weights: Sequence[WeightPlan],
    biases: Sequence[BiasPlan],
    capability: Capability,
    ranges: Mapping[str, Interval] | None = None,
) -> dict[str, Prediction]:
    """The prediction for every node of `view`, by node name, in graph order. Linear in the size of the graph.

    `tensors` is keyed by tensor name. `ranges` are measured ranges (low, high) per tensor; without them the predictor
    uses what the graph proves (a Relu's output starts at 0), which calibrated ranges may only narrow. Ranges can turn
    a "float" into "absorbed", where a range happens to start at 0, never the reverse.
    """
    return predict_edges(view, edges_of_plan(view, tensors, weights, biases, ranges), capability)


def predict_edges(view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
    """The same from any description of which edges carry integers. `edges` is changed: the pairs that the runtime adds
    itself are put in."""
    spread(view, edges, capability)
    return judge(view, edges, capability)
