"""Diagnostic codes of running models with gradients."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "torch-absent": CodeDoc(
        "torch is not installed",
        "What needs gradients runs the model in torch, which is large and belongs to no verb: the extra `train` "
        "installs it. Everything else works without.",
        "recipe example\n",
        verb="library",
    ),
    "executor-lacks": CodeDoc(
        "the executor with gradients lacks operators of the model",
        "Gradients come from running the graph in torch, operator by operator. It knows those of vision models, in the "
        "forms that exporters write, and names here all that it does not know: nothing is left out or replaced. Bodies "
        "of If, Loop and Scan are none of them.",
        "recipe example\n",
        verb="library",
    ),
    "executor-failed": CodeDoc(
        "a node does not take what it is given",
        "The executor with gradients runs a graph with inputs of any shape. A shape that is written into the graph, in "
        "a Reshape for instance, may hold for one batch size alone.",
        "recipe example\n",
        verb="library",
    ),
}
