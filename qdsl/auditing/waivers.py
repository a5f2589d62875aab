"""`allow RULE on SELECTOR because "..."`: which findings a recipe lets stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.report import Waiver
from qdsl.diag import Diagnostics, Span
from qdsl.finished.records import Finished
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Allow, Recipe, Target
from qdsl.lang.selectors import Picks
from qdsl.select.selection import Selection


@dataclass
class Waivers:
    """The `allow` statements of a recipe over one file. A selector picks among the file's operators without Q and DQ,
    as everywhere in a recipe; one that picks nothing there may name a Q or DQ of the file. What is wrong with a
    selector goes to `diags`."""

    recipe: Recipe
    finished: Finished
    operators: GraphView
    diags: Diagnostics
    _covered: dict[Picks, _Covered] = field(default_factory=dict)

    def applied(
        self, found: Iterable[Finding], target: Target | None
    ) -> tuple[tuple[Finding, ...], tuple[Waiver, ...]]:
        """The findings, waived where an `allow` of the recipe or of its block `target` covers their place; and every
        such statement with how many it waived. Where several cover a finding, each counts and the first says why."""
        allows = (*self.recipe.allows, *(target.allows if target is not None else ()))
        used = [0] * len(allows)
        told = tuple(self._waived(each, allows, used) for each in found)
        words = zip(allows, used, strict=True)
        return told, tuple(Waiver(a.code, self._words(a), a.because, a.span, count) for a, count in words)

    def _waived(self, found: Finding, allows: Sequence[Allow], used: list[int]) -> Finding:
        because: list[str] = []
        for number, allow in enumerate(allows):
            if allow.code == found.rule and self._covers(allow.picks).place(found.place):
                used[number] += 1
                because.append(allow.because)
        return replace(found, waived=because[0] or "no reason given") if because else found

    def _words(self, allow: Allow) -> str:
        from qdsl.cascade.rule_words import Origins

        return Origins(self.recipe).words(allow.picks.span)

    def _covers(self, picks: Picks) -> _Covered:
        if picks not in self._covered:
            self._covered[picks] = self._picked(picks)
        return self._covered[picks]

    def _picked(self, picks: Picks) -> _Covered:
        tried = Diagnostics()
        for view in (self.operators, self.finished.view):
            found = Diagnostics()
            nodes, tensors = Selection(view, found, dict(self.recipe.selects)).nodes_and_tensors(picks)
            if not found.has_errors:
                return _Covered(self.finished, view, frozenset(nodes), frozenset(tensors))
            tried = tried if len(tried) else found
        self.diags.extend(tried)
        return _Covered(self.finished, self.operators, frozenset(), frozenset())


@dataclass(frozen=True)
class _Covered:
    """The places that a selector covers: picked `nodes` of `view`, and `tensors`."""

    finished: Finished
    view: GraphView
    nodes: frozenset[int]
    tensors: frozenset[str]

    def place(self, place: Place) -> bool:
        """A node that is picked, or a Q or DQ on a tensor that is covered; a tensor that is named, or that a picked
        node writes, or reads where nothing writes it; the file where every node is picked."""
        if place.kind == "file":
            return len(self.nodes) == len(self.view.nodes)
        if place.kind == "tensor":
            return self._tensor(place.name)
        index = self.view.node_index.get(place.name)
        if index is not None:
            return index in self.nodes
        return any(map(self._tensor, self._standing_on.get(place.name, ())))

    def _tensor(self, name: str) -> bool:
        return name in self.tensors or name in self._theirs

    @cached_property
    def _theirs(self) -> frozenset[str]:
        return frozenset(name for index in self.nodes for name in self._of(index))

    def _of(self, index: int) -> Iterator[str]:
        node = self.view.nodes[index]
        yield from node.outputs
        for name in node.inputs:
            tensor = self.view.tensors.get(name)
            if tensor is None or tensor.producer is None:
                yield name

    @cached_property
    def _standing_on(self) -> Mapping[str, tuple[str, ...]]:
        """The float tensors, and the constants behind them, on which each Q and DQ of the file stands."""
        found: dict[str, tuple[str, ...]] = {}
        for each in self.finished.tensors:
            for node in (*each.quantizers, *each.dequantizers, *each.between):
                found[node] = (*found.get(node, ()), each.tensor, each.stored)
        return found


def unused(sections: Iterable[tuple[Waiver, ...]], diags: Diagnostics) -> None:
    """Report each waiver that waived nothing in any section, at its line."""
    used: dict[tuple[str, Span], int] = {}
    first: dict[tuple[str, Span], Waiver] = {}
    for waivers in sections:
        for each in waivers:
            key = (each.rule, each.line)
            used[key] = used.get(key, 0) + each.used
            first.setdefault(key, each)
    for key, count in used.items():
        if not count:
            each = first[key]
            diags.error(
                "waiver-unused",
                f"this waiver allows nothing: no finding of `{each.rule}` is on what it picks",
                each.line,
                help=["take it out; what was to be allowed is gone, or stands elsewhere"],
            )
