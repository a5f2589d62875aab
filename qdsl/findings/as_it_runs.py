"""What runs of a file that is measured as it is: read from the runtime, since nothing was planned for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qdsl.graph import load, to_proto
from qdsl.graph.sessions import RuntimeRefusesError
from qdsl.plan import Decisions
from qdsl.plan.as_it_is import RAN
from qdsl.spec.plan import AS_IT_IS, NodePlan, Prediction
from qdsl.targets.ort.exposing import refused
from qdsl.targets.ort.reality import Ran, read
from qdsl.work.prepared import Prepared, model_span, placed_at

_GONE = Prediction("absorbed", "", "", RAN)


def as_it_runs(prepared: Prepared, decided: Decisions) -> Decisions:
    """Under `quantize none`, the decisions with what ONNX Runtime makes of each node on this machine; others as they
    are. Raises QdslError artifact-refused."""
    if decided.plan.mode != AS_IT_IS:
        return decided
    ran = _reality(prepared)
    found = {name: Prediction(each.runs, each.kernel, "", RAN) for name, each in ran.items()}
    nodes = tuple(_marked(replace(node, prediction=found.get(node.node, _GONE))) for node in decided.plan.nodes)
    integer = [node for node in nodes if node.in_integers]
    total = replace(decided.plan.totals, integer_nodes=len(integer), integer_macs=sum(n.macs or 0 for n in integer))
    plan = replace(decided.plan, nodes=nodes, totals=total)
    return replace(decided, plan=plan, predictions={node.node: node.prediction for node in nodes})


def _marked(node: NodePlan) -> NodePlan:
    return replace(node, mark="+") if node.prediction.runs == "integer" else node


def _reality(prepared: Prepared) -> Mapping[str, Ran]:
    path = prepared.model.path
    assert path is not None, "a recipe's model is a file"
    try:
        # With the names that the graph is known by; a file of weights of its own is read where it lies.
        return read(path if len(prepared.states) > 1 else to_proto(load(path)).SerializeToString()).nodes
    except RuntimeRefusesError as error:
        with placed_at(model_span(prepared)):
            raise refused("the model", error) from None
