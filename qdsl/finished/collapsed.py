"""A finished file as a float graph and the edges that carry integers: the form that the predictor judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.graph.view import GraphView
from qdsl.predict.edges import Edges
from qdsl.spec.plan import Prediction


@dataclass(frozen=True, slots=True)
class Collapsed:
    """`view` has the nodes of the file without its Q and DQ, by their names in the file, and `edges` what these said.
    `known` are verdicts that need no judging: nodes that are integer operators in the file itself, and what a runtime
    computes, or takes out, when it loads the file, which is not in `view`."""

    view: GraphView
    edges: Edges
    known: Mapping[str, Prediction]
