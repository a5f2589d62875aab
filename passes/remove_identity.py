"""Take out Identity and inference Dropout.

Fires where the first output equals the first input: Identity, and Dropout whose `training_mode` is absent or a constant
false (from opset 7 to 11 Dropout has no training mode) and whose mask nobody reads.
Refuses where both names must stay: a graph output fed by a graph input, a constant or another graph output, and tensors
that the body of an If, Loop or Scan reads by name.
Guarantees that graph outputs keep their names; the tensor before a removed one takes its name where needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import bypass
from qdsl.graph.model import Model
from qdsl.graph.walk import inner
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import bypass_obstacle, is_op


def no_identity(model: Model) -> Iterator[str]:
    """No Identity, except one that stands between two names that must both stay."""
    return (node.name for node in model.nodes() if is_op(node, "Identity") and bypass_obstacle(model, node) is None)


@dataclass(frozen=True, slots=True)
class RemoveIdentity(Rewrite):
    """No options."""

    name: ClassVar[str] = "remove_identity"
    summary: ClassVar[str] = "take out Identity and inference Dropout"
    ensures: ClassVar[tuple[Fact, ...]] = (no_identity,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if not is_op(node, "Identity", "Dropout"):
                continue
            reason = _trains(model, node) or bypass_obstacle(model, node)
            if reason is not None:
                changes.refuse(node.name, reason)
                continue
            changes.fire(f"remove_{node.op.lower()}", [node.name])
            bypass(model, node)
        return changes.outcome()


def _trains(model: Model, node: gs.Node) -> str | None:
    """Why a Dropout is more than a copy; None for an Identity and for an inference Dropout."""
    if node.op == "Identity":
        return None
    if not all(inner(model, mask, 0) for mask in node.outputs[1:]):
        return "its mask is read"
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None or not mode.name:
        return None
    if not isinstance(mode, gs.Constant):
        return "its training mode is computed"
    return "it drops: training_mode is true" if lazy_of(mode).load().any() else None
