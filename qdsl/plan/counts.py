"""How far each setting of each `layers` rule reached; one that reaches nothing is an error."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.cascade.cascade import SETTINGS, Spoken, Value
from qdsl.lang.recipe import LayersRule, TypeRequest
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.plan.float16 import Float16Parts
from qdsl.plan.shapes import weight_ports
from qdsl.plan.unused import Again, report_unused
from qdsl.spec.plan import Count


class Counter:
    """Counts over one settled draft and its float16 nodes. `refused` holds the nodes that the target turned back to
    float, and why; `again` drafts once more."""

    def __init__(
        self, context: Context, draft: Draft, halves: Float16Parts, refused: Mapping[int, str], again: Again
    ) -> None:
        self._context = context
        self._draft = draft
        self._halves = halves
        self._refused = refused
        self._again = again
        self._half_weighted = frozenset(weight.node for weight in halves.weights)
        view = context.view
        weighted = {view.node_index[w.node]: w.port for w in draft.weights}
        self._weighted = frozenset(n for n, port in weighted.items() if port in weight_ports(context, view.nodes[n]))
        self._spoken_of: dict[int, list[str]] = {}
        for tensor in draft.tensors:
            for node in context.speakers(tensor, draft.tensors):
                self._spoken_of.setdefault(node, []).append(tensor)

    def all(self) -> tuple[Count, ...]:
        found = []
        for spoken in self._context.cascade.spoken:
            if not isinstance(spoken.rule, LayersRule):
                continue
            for what in SETTINGS:
                said = getattr(spoken.rule.settings, what)
                if said is not None:
                    found.append(self._count(spoken, what, said))
        return tuple(found)

    def _count(self, spoken: Spoken, what: str, said: Value) -> Count:
        picked = len(spoken.nodes) + len(spoken.tensors)
        applied = sum(self._takes(node, what, said) for node in spoken.nodes)
        if what != "weights":
            applied += sum(1 for tensor in spoken.tensors if self._tensor_takes(tensor, said))
        if picked and not applied:
            self._unused(spoken, what, said)
        return Count(spoken.origin, what, applied, picked - applied)

    def _takes(self, node: int, what: str, said: Value) -> bool:
        floats = isinstance(said, TypeRequest) and said.dtype is not None and said.dtype.name == "float32"
        view = self._context.view
        if isinstance(said, TypeRequest) and said.dtype is not None and said.dtype.name == "float16":
            return node in self._halves.nodes or (what == "weights" and view.nodes[node].name in self._half_weighted)
        if what == "weights":
            row = self._context.rows[node]
            return bool(row.weight_ports(view.nodes[node], view)) if floats else node in self._weighted
        if floats:
            return any(self._context.quantizable(tensor) for tensor in view.nodes[node].outputs)
        return node in self._spoken_of

    def _tensor_takes(self, tensor: str, said: Value) -> bool:
        floats = isinstance(said, TypeRequest) and said.dtype is not None and said.dtype.name == "float32"
        return self._context.quantizable(tensor) if floats else tensor in self._draft.tensors

    def _unused(self, spoken: Spoken, what: str, said: Value) -> None:
        refused = [node for node in spoken.nodes if node in self._refused]
        diags = self._context.diags
        if refused:
            name = self._context.view.nodes[refused[0]].name
            many = len(spoken.nodes) > 1
            which = f"any of the {len(spoken.nodes)} picked nodes: all stay" if many else "the picked node: it stays"
            diags.error(
                "target-cannot",
                f"`{what}` does not reach {which} float on this target",
                said.span,
                label=f"`{name}`: {self._refused[refused[0]]}",
                help=["pick other nodes, or take the setting out"],
            )
            return
        report_unused(self._context, self._refused, spoken, what, said, self._again)


def check_mode(context: Context, draft: Draft) -> None:
    """Report what `quantize float` says of integer activations where nothing takes it: no tensor holds integers."""
    mode = context.cascade.mode
    if mode.kind != "float" or draft.tensors or context.diags.has_errors:
        return
    for what in ("activations", "calibrate", "range"):
        said = getattr(mode.settings, what)
        if said is None or (isinstance(said, TypeRequest) and said.dtype is not None and not said.dtype.quantized):
            continue
        context.diags.error(
            "setting-unused",
            f"`{what}` has nothing to decide in this float build",
            said.span,
            label="no tensor of the plan holds integers",
            help=["take it out, or write `quantize static`"],
        )
