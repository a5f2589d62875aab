"""What `improve` does to one node, in the words of `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdsl.graph.view import NodeView
from qdsl.lock import LockedWeight
from qdsl.passes.qdq_parameters import weight_key
from qdsl.plan import improve
from qdsl.plan.build import Decisions
from qdsl.spec.plan import Origin

Told = tuple[str, str, Origin]  # what, value, by whom


def improved(decisions: Decisions, node: NodeView, rounded: Sequence[LockedWeight]) -> Iterator[Told]:
    """`rounded` is what a lock has of weights."""
    yield from _rounded(decisions, node, rounded)
    yield from _corrected(decisions, node)


def _rounded(decisions: Decisions, node: NodeView, known: Sequence[LockedWeight]) -> Iterator[Told]:
    """That the integers of the node's weight are chosen together, and what that gained."""
    asked = improve.origin(decisions.context.origins.recipe, decisions.context, "round")
    for weight in decisions.plan.weights:
        if weight.node != node.name or asked is None:
            continue
        if weight.rounded_on is None:
            yield "integers", "each the nearest: nothing to choose them by, or others read them in another way", asked
            continue
        key, target = weight_key(weight, decisions.context.view), decisions.plan.target
        told = f"chosen so that it writes what it does in float, on {weight.rounded_on}"
        found = [one for one in known if (one.target, one.tensor, one.scheme) == (target, key.tensor, key.how)]
        gained = "".join(f": {one.before:.4g} dB, now {one.after:.4g} dB" for one in found[:1])
        yield "integers", f"{told}{gained}", asked


def _corrected(decisions: Decisions, node: NodeView) -> Iterator[Told]:
    """That the node's bias makes up for its rounded weights."""
    asked = improve.origin(decisions.context.origins.recipe, decisions.context, "bias_correct")
    for bias in (*decisions.plan.biases, *decisions.plan.float_biases):
        if bias.node == node.name and asked is not None:
            held = f"moved by the mean shift of its weights, on {bias.corrected_on}"
            yield "bias", held if bias.corrected_on else "as it is: no calibrated input", asked
