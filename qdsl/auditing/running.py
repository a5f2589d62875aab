"""What a target will run of a finished file, node by node, before any runtime loads it."""

from __future__ import annotations

from qdsl.capability import Capability
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished
from qdsl.spec.plan import Prediction
from qdsl.targets.base import Runtime

_OWN = ("integer", "absorbed")


def what_runs(
    finished: Finished, collapsed: Collapsed, runtime: Runtime, capability: Capability
) -> dict[str, Prediction]:
    """The verdict on every node of the file but its Q and DQ, by name in graph order. Linear in the size of the graph;
    loads no runtime. `collapsed.edges` is changed, as `Runtime.predict_edges` says."""
    judged = runtime.predict_edges(collapsed.view, collapsed.edges, capability)
    # What a runtime makes of an integer operator it knows better than the file.
    own = {name: said for name, said in judged.items() if said.runs in _OWN}
    found = {**judged, **collapsed.known, **own}
    return {node.name: found[node.name] for node in finished.view.nodes if node.name in found}
