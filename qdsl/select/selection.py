"""The selectors of a recipe over one graph, each evaluated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qdsl.diag import Diagnostics
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Edge
from qdsl.lang.selectors import Picks
from qdsl.select import connections
from qdsl.select.empty import miscount
from qdsl.spec.words import count


@dataclass
class Selection:
    """Answers what a selector picks; what it finds wrong (nothing picked, another count than `expect`) goes to
    `diags`."""

    view: GraphView
    diags: Diagnostics
    selects: Mapping[str, Picks]
    _nodes: dict[Picks, tuple[int, ...]] = field(default_factory=dict)
    _tensors: dict[Picks, tuple[str, ...]] = field(default_factory=dict)

    def nodes(self, picks: Picks) -> tuple[int, ...]:
        """Indices of the picked nodes, in graph order."""
        if picks not in self._nodes:
            self._nodes[picks] = connections.select_nodes(picks, self.view, self.diags, selects=self.selects)
        return self._nodes[picks]

    def tensors(self, picks: Picks) -> tuple[str, ...]:
        """Names of the picked tensors."""
        if picks not in self._tensors:
            self._tensors[picks] = connections.select_tensors(picks, self.view, self.diags, selects=self.selects)
        return self._tensors[picks]

    def edges(self, edge: Edge) -> tuple[tuple[int, int, int], ...]:
        """The connections that `A -> B` picks: (writer, reader, input port of the reader)."""
        return connections.select_edges(edge, self.view, self.diags, selects=self.selects)

    def nodes_and_tensors(self, picks: Picks) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """What a `layers` or `keep` rule picks: nodes, and tensors where it says `tensor "..."`."""
        by_name = tuple(part for part in picks.parts if connections.names_tensors(replace(picks, parts=(part,))))
        others = tuple(part for part in picks.parts if part not in by_name)
        if not by_name:
            return self.nodes(picks), ()
        if not others:
            return (), self.tensors(picks)
        nodes = self.nodes(replace(picks, parts=others, expect=None))
        tensors = self.tensors(replace(picks, parts=by_name, expect=None))
        found = len(nodes) + len(tensors)
        if picks.expect is not None and picks.expect != found:
            span = picks.expect_span or picks.span
            label = f"expected {picks.expect}, found {count(len(nodes), 'node')} and {count(len(tensors), 'tensor')}"
            miscount(self.diags, f"{found} nodes and tensors", picks.expect, span, label)
        return nodes, tensors
