"""Drafts until the placement and the predictor agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.capability import ABSORBED
from qdsl.lang.recipe import PlaceRule
from qdsl.plan.apart import predict_kept
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft, make_draft
from qdsl.plan.place import GRAPH_OUTPUT, Components, Edit
from qdsl.spec.plan import Prediction, Reader

_ROUNDS = 12


@dataclass(frozen=True)
class Settled:
    """The last draft, what is predicted for it, the nodes turned back to float, each with why, and where nodes that are
    kept in float read a copy."""

    draft: Draft
    predictions: Mapping[str, Prediction]
    refused: Mapping[int, Prediction]
    apart: tuple[Reader, ...] = ()


class Settling:
    """The runtime's conditions depend on each other, so drafts are made until every node that is to run in integers is
    predicted to. A node that will not is first tried with its activation apart, then left in float, and its pairs go
    where nothing else needs them; nodes that `place` rules speak of keep their pairs as written."""

    def __init__(
        self, context: Context, rules: tuple[PlaceRule, ...], changes: tuple[Edit, ...], bare: frozenset[str]
    ) -> None:
        self._context = context
        self._rules = rules
        self._edits = changes
        self._bare = bare
        self._unfolded: set[int] = set()
        self._refused: dict[int, Prediction] = {}
        self._placed = self._touched()
        self._able = [node.index for node in context.view.nodes if self._is_able(node.index)]

    def run(self) -> Settled:
        for _ in range(_ROUNDS):
            able = [node for node in self._able if node not in self._refused]
            active = Components(self._context, able).active
            draft = make_draft(self._context, self._rules, self._edits, active, self._unfolded, self._bare)
            predictions, apart = predict_kept(self._context, draft.tensors, draft.weights, draft.biases)
            if not self._learn(draft, predictions, active):
                break
        return Settled(draft, predictions, self._refused, apart)

    def _learn(self, draft: Draft, predictions: Mapping[str, Prediction], active: frozenset[int]) -> bool:
        """Note what will not run in integers; False when nothing new was learnt."""
        stored = self._stored_only(draft)
        failed = {}
        for node in sorted(active):
            prediction = predictions[self._context.view.nodes[node].name]
            if prediction.runs == "float" and self._context.rows[node].computes and node not in stored:
                failed[node] = prediction
        settled = self._unfolded | self._placed
        apart = {node for node in failed if node not in settled and self._folds(node, draft)}
        if apart:
            self._unfolded |= apart
            return True
        new = {node: prediction for node, prediction in failed.items() if node not in self._placed}
        self._refused.update(new)
        return bool(new)

    def _is_able(self, node: int) -> bool:
        context = self._context
        row = context.rows[node]
        if node in context.kept or not (row.computes or row.same_scale or row.kind == ABSORBED):
            return False
        view_node = context.view.nodes[node]
        if row.only_asked and node not in self._placed:
            return False
        if not any(context.quantizable(tensor) for tensor in view_node.outputs):
            return False
        weighted = row.computes and bool(row.weight_ports(view_node, context.view))
        return not weighted or context.weight(node).scheme is not None

    def _folds(self, node: int, draft: Draft) -> bool:
        written = self._context.view.nodes[node].outputs
        return any(tensor not in draft.tensors and self._context.folded(tensor) is not None for tensor in written)

    def _stored_only(self, draft: Draft) -> set[int]:
        """Nodes beside a type that the recipe wants stored and not computed in."""
        view = self._context.view
        found = {view.node_index[weight.node] for weight in draft.weights if weight.scheme.storage_only}
        for plan in draft.tensors.values():
            if plan.scheme.storage_only:
                found.update(view.node_index[reader.node] for reader in plan.readers if reader.node)
                found.update(self._context.speakers(plan.tensor, draft.tensors))
        return found

    def _touched(self) -> set[int]:
        found = set()
        for change in self._edits:
            if change.slot != GRAPH_OUTPUT:
                found.add(change.slot[0])
            found.update(self._context.speakers(change.tensor, ()))
        return found
