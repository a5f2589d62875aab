"""What will run in a dynamic build: products in integers, everything else in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qdsl.capability import Capability
from qdsl.graph.view import GraphView
from qdsl.predict.edges import float_edges
from qdsl.predict.rules import judge
from qdsl.spec.plan import Prediction, WeightPlan


def predict_dynamic(view: GraphView, weights: Sequence[WeightPlan], capability: Capability) -> dict[str, Prediction]:
    """The prediction for every node of `view`, by node name, in graph order. Linear in the size of the graph."""
    because = capability.reasons["dynamic_none"]
    found = {
        name: replace(prediction, because=because) if prediction.runs == "float" else prediction
        for name, prediction in judge(view, float_edges(view), capability).items()
    }
    for name in dict.fromkeys(weight.node for weight in weights):
        rule = capability.dynamic_for(view.node(name))
        assert rule is not None, "only nodes with a rule are planned"
        found[name] = Prediction("integer", rule.kernel, rule.name, rule.because)
    return found
