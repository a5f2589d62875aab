"""Says, per node, what a target will run in integers, without running it: from the plan and the target's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qdsl.capability import Capability
from qdsl.graph.view import GraphView
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, edges_of_plan
from qdsl.predict.rules import judge
from qdsl.spec.plan import BiasPlan, Prediction, TensorPlan, WeightPlan
from qdsl.targets.ort.doubled import join_doubled
from qdsl.targets.ort.fusions import Merged, merge_nodes
from qdsl.targets.ort.integer_chains import chains
from qdsl.targets.ort.spread import spread


def predict(
    view: GraphView,
    tensors: Mapping[str, TensorPlan],
    weights: Sequence[WeightPlan],
    biases: Sequence[BiasPlan],
    capability: Capability,
    ranges: Mapping[str, Interval] | None = None,
    *,
    lowered: bool = False,
) -> dict[str, Prediction]:
    """The prediction for every node of `view`, by node name, in graph order. Linear in the size of the graph.

    `tensors` is keyed by tensor name. `ranges` are measured ranges (low, high) per tensor; without them the predictor
    uses what the graph proves (a Relu's output starts at 0), which calibrated ranges may only narrow. Ranges can turn
    a "float" into "absorbed", where a range happens to start at 0, never the reverse. `lowered`: the emitter's own
    rewrites for the target will run before the runtime sees the graph.
    """
    edges = edges_of_plan(view, tensors, weights, biases, ranges)
    edges.lowered = lowered
    # As the emitter finds it, before the runtime moves pairs.
    runs = _lowered_runs(view, tensors, weights, biases, capability) if lowered else {}
    return predict_edges(view, edges, capability) | runs


def _lowered_runs(
    view: GraphView,
    tensors: Mapping[str, TensorPlan],
    weights: Sequence[WeightPlan],
    biases: Sequence[BiasPlan],
    capability: Capability,
) -> dict[str, Prediction]:
    """What lowerings make of nodes; passes load numpy and onnx, which predicting by rows alone does without."""
    from qdsl.targets.lowerings import Pairs, lowered_runs

    return lowered_runs(view, Pairs(tuple(tensors.values()), tuple(weights), tuple(biases)), capability, "ort")


def predict_edges(view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
    """The same from any description of which edges carry integers. `edges` is changed: the pairs that the runtime adds
    itself are put in."""
    merged_view, merged = merge_nodes(join_doubled(view, edges), edges, capability)
    spread(merged_view, edges, capability, _past(merged))
    found = judge(merged_view, edges, capability) | chains(merged_view, edges)
    for pair in reversed(merged):
        found[pair.gone] = _inside(found[pair.host], pair)
    return {node.name: found[node.name] for node in view.nodes}


def _past(merged: Sequence[Merged]) -> frozenset[str]:
    """The nodes that took another up once pairs were spread."""
    return frozenset(pair.host for pair in merged if pair.past)


def _inside(host: Prediction, pair: Merged) -> Prediction:
    if pair.equal:
        return replace(host, because=pair.because)
    runs = "float" if host.runs == "float" else "absorbed"
    return Prediction(runs, host.kernel, host.row, pair.because)


def refused_tensors(view: GraphView, edges: Edges, capability: Capability) -> tuple[str, ...]:
    """Tensors on which the runtime would put a signed Q/DQ pair that it then refuses to load (ONNX Runtime, opset 21
    and up: it rewrites the pair to unsigned and leaves `output_dtype` behind). Quantize these tensors in the plan, or
    use unsigned activations. `edges` is changed."""
    last = capability.signed_spread_max_opset
    if last is None or view.opset <= last:
        return ()
    merged_view, merged = merge_nodes(view, edges, capability)
    reached = spread(merged_view, edges, capability, _past(merged))
    pairs = [(name, quant, uses) for name in reached for quant, uses in edges.written[name].quants.items()]
    return tuple(sorted(name for name, quant, uses in pairs if quant.dtype.signed and len(uses) == 1))
