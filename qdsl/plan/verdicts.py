"""The verdict on every node: quantized, asked for but float, or untouched, with the words that say why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qdsl.capability import ABSORBED, FLOAT
from qdsl.capability.model import EDGES
from qdsl.cascade.rule_words import table_row
from qdsl.graph.view import NodeView
from qdsl.plan.context import Context
from qdsl.plan.draft import Draft
from qdsl.plan.shapes import blockless
from qdsl.predict.macs import macs
from qdsl.spec.plan import NodePlan, Origin, Prediction, TensorPlan, WeightPlan

QUANTIZED, REFUSED, UNTOUCHED = "+", "!", "="
INTEGER_RUNS = ("integer", "absorbed")


@dataclass(frozen=True)
class Verdicts:
    """Judges nodes of one settled draft. `refused` holds the prediction that turned a node back to float."""

    context: Context
    draft: Draft
    predictions: Mapping[str, Prediction]
    refused: Mapping[int, Prediction]

    def all(self) -> tuple[NodePlan, ...]:
        weights: dict[str, list[WeightPlan]] = {}
        for weight in self.draft.weights:
            weights.setdefault(weight.node, []).append(weight)
        return tuple(self._node(node, weights.get(node.name, [])) for node in self.context.view.nodes)

    def _node(self, node: NodeView, weights: list[WeightPlan]) -> NodePlan:
        prediction = self.refused.get(node.index, self.predictions[node.name])
        mark, note, origin = self._judge(node, weights, prediction)
        return NodePlan(node.name, node.op, mark, note, origin, prediction, macs(self.context.view, node))

    def _judge(self, node: NodeView, weights: list[WeightPlan], prediction: Prediction) -> tuple[str, str, Origin]:
        kept = self.context.kept.get(node.index)
        if kept is not None:
            return UNTOUCHED, "float32", kept
        if not any(self.context.quantizable(tensor) for tensor in node.outputs if tensor):
            return UNTOUCHED, "no float32 output", Origin("default")
        if not self.context.data_ports(node) and not weights:
            return UNTOUCHED, "no float32 input", Origin("default")
        reads, writes = self._reads(node), self._writes(node)
        if self._quantized(node, prediction, reads, writes, weights):
            return QUANTIZED, self._types(node, weights, reads, writes, prediction), _origin(weights, writes, reads)
        return self._stays_float(node, prediction, weights)

    def _quantized(
        self,
        node: NodeView,
        prediction: Prediction,
        reads: list[TensorPlan],
        writes: list[TensorPlan],
        weights: list[WeightPlan],
    ) -> bool:
        if node.index in self.refused:
            return False
        if prediction.runs in INTEGER_RUNS:
            return True
        if prediction.runs == "moves":
            return bool(reads and writes)
        parts: list[WeightPlan | TensorPlan] = [*weights, *reads, *writes]
        return any(part.scheme.storage_only for part in parts)

    def _stays_float(
        self, node: NodeView, prediction: Prediction, weights: list[WeightPlan]
    ) -> tuple[str, str, Origin]:
        row = self.context.rows[node.index]
        asked = self.context.weight(node.index) if row.weights else None
        if asked is not None and asked.scheme is None:
            return UNTOUCHED, "float32 weights", asked.origin
        if asked is not None and blockless(self.context, node):
            return REFUSED, f"stays float: {self.context.capability.reasons['vector_blocks']}", asked.origin
        if row.kind == FLOAT and self.context.capability.placement == EDGES:  # beside what multiplies, it is meant to
            return UNTOUCHED, "float32", table_row(self.context.capability.name, row.name)
        speakers = (node.index,)
        bare = self.context.activation(node.outputs[0], speakers)
        if bare.scheme is None:
            return UNTOUCHED, "float32 activations", bare.origin
        reached = node.index in self.refused or self.context.is_heavy(node.index) or row.kind == FLOAT
        near = bool(self._reads(node) or self._writes(node))
        if not reached and not near:
            return UNTOUCHED, "stays float: nothing beside it runs in integers", Origin("default")
        if row.kind == ABSORBED and not near:
            return UNTOUCHED, "stays float: nothing beside it runs in integers", Origin("default")
        because = prediction.because or row.because
        return REFUSED, f"stays float: {because}", _origin(weights, [], []) if weights else bare.origin

    def _reads(self, node: NodeView) -> list[TensorPlan]:
        """Plans of the tensors that the node reads dequantized, by port."""
        tensors = self.draft.tensors
        found = [(port, tensors[name]) for port, name in enumerate(node.inputs) if name in tensors]
        return [plan for port, plan in found if plan.read_by(node.name, port)]

    def _writes(self, node: NodeView) -> list[TensorPlan]:
        """Plans of what the node writes, after the activation that folds into it."""
        found = []
        for tensor in node.outputs:
            plan = self.draft.tensors.get(tensor) or self.draft.tensors.get(self.context.folded(tensor) or "")
            if plan is not None:
                found.append(plan)
        return found

    def _types(
        self,
        node: NodeView,
        weights: list[WeightPlan],
        reads: list[TensorPlan],
        writes: list[TensorPlan],
        prediction: Prediction,
    ) -> str:
        row = self.context.rows[node.index]
        found = self.context.capability.store_for(node, self.context.view)
        stores = found[1] if found is not None else ()
        own = [w for w in weights if w.port in (*row.weights, *stores)]
        words = [f"{_short(w)}{self._undivided(node, w)}" for w in own[:1]]
        words += [f"in {_types_of(reads)}"] if reads else []
        words += [f"out {_types_of(writes)}{self._after(node, writes)}"] if writes else []
        if prediction.runs == "absorbed":
            words = [f"folds into {prediction.kernel or 'its neighbour'}", *words]
        elif prediction.runs == "float" or (stores and not reads):
            words.append("stored only, computes in float")
        elif own and not reads:
            words.insert(1, "float activations")
        return "   ".join(words) or prediction.kernel

    def _undivided(self, node: NodeView, weight: WeightPlan) -> str:
        """That a stack of matrices, or the weight of a kernel that takes no other, has one scale, where one per channel
        was asked for."""
        asked = self.context.weight(node.index).scheme
        if asked is None or asked.granularity is weight.scheme.granularity:
            return ""
        stack = len(self.context.view.tensors[weight.tensor].shape or ()) > 2 and node.op == "MatMul"
        return " for a stack of matrices" if stack else f" for a {node.op}" if node.op != "MatMul" else ""

    def _after(self, node: NodeView, writes: list[TensorPlan]) -> str:
        later = [w for w in writes if w.tensor not in node.outputs]
        writer = self.context.view.producer(later[0].tensor) if later else None
        return f" (Q after {writer.op})" if writer is not None else ""


def _short(weight: WeightPlan) -> str:
    return f"{weight.scheme.width} {weight.scheme.granularity.value}"


def _types_of(plans: Iterable[TensorPlan]) -> str:
    return "+".join(dict.fromkeys(plan.scheme.width for plan in plans))


def _origin(weights: list[WeightPlan], writes: list[TensorPlan], reads: list[TensorPlan]) -> Origin:
    parts: list[WeightPlan | TensorPlan] = [*weights, *writes, *reads]
    return parts[0].origin if parts else Origin("default")
