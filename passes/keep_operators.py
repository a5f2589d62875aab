"""Keep operators that the recipe keeps in float from being fused with the Q/DQ pairs around them.

Between a DequantizeLinear and a QuantizeLinear the runtime computes many operators in integers, whatever the recipe
asked of them (a Sigmoid becomes QLinearSigmoid). A planned node reads one of its inputs through a Max of one input,
which copies and which no fusion knows:

    sigmoid(dequantize(x)) = sigmoid(max(dequantize(x)))

Refuses nothing. Guarantees that nodes keep their names and that every float stays the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.edit import add_node, replace_input
from qdsl.graph.model import Model
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_line
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.plan import Plan


@dataclass(frozen=True, slots=True)
class KeepOperators(Lowering):
    """Options: the plan to carry out."""

    plan: Plan

    name: ClassVar[str] = "keep_operators"
    summary: ClassVar[str] = "keep planned operators between Q/DQ pairs from being fused with them"

    def __str__(self) -> str:
        return f"{self.name}{{places={len(self.plan.apart)}}}"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        nodes = {node.name: node for node in model.nodes()}
        kept = {node.node: node.origin for node in self.plan.nodes}
        for place in self.plan.apart:
            told = by_line(kept[place.node], self.plan.recipe)
            copy_input(model, nodes[place.node], place.port, told)
            changes.fire("kept", [place.node])
        model.sort()
        return changes.outcome()

    @classmethod
    def of(cls, plan: Plan) -> Self:
        return cls(plan)

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """The plan says what they run as: it was made with the copies."""
        changes = Changes()
        for place in self.plan.apart:
            node = sketch.node(place.node)
            source = node.inputs[place.port]
            sketch.redirect(source, sketch.add("Max", [source], "float32"), [(node, place.port)])
            changes.fire("kept", [place.node])
        return Foresight(changes.outcome())


def copy_input(model: Model, node: gs.Node, port: int, told: Mapping[str, str]) -> None:
    """Let `node` read a copy of what it reads at `port`; `told` says why."""
    source = node.inputs[port]
    made = add_node(
        model,
        "Max",
        [source],
        name=f"{node.name}_kept",
        output_name=f"{source.name}_kept",
        like=source,
        metadata=told,
    )
    replace_input(model, node, port, made.outputs[0])
