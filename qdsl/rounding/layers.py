"""The weights of a plan whose integers can be chosen, and what of the float network each multiplies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qdsl.graph.view import GraphView
from qdsl.passes.qdq_parameters import weight_key
from qdsl.rounding.gram import gram_bytes
from qdsl.rounding.patches import Form, form_of
from qdsl.spec import WeightKey
from qdsl.spec.plan import Plan, WeightPlan

_MOST_BITS = 8  # of 16 bits a step is worth nothing
# Sums of a layer that are more than this are not taken: a matrix of 9,000 inputs and more.
LARGEST = 2 << 30
# Sums that are held in one pass over the data, but for a layer that takes more by itself.
_AT_ONCE = 1 << 29


@dataclass(frozen=True, slots=True)
class Layer:
    """One stored weight: read by `nodes` alike, as `form` says, beside the tensors `inputs`, one for each node.
    `corrected` names the tensor whose means correct the bias of its node: what is shifted there costs nothing."""

    key: WeightKey
    form: Form
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    data: str
    corrected: str | None = None

    @property
    def bytes(self) -> int:
        return gram_bytes(self.form.groups, self.form.size)

    def centre(self, means: Mapping[str, Sequence[float]]) -> NDArray[np.float64] | None:
        """What a corrected bias takes out of each patch, [groups, k]: the mean of each channel; None without."""
        if self.corrected is None or self.corrected not in means:
            return None
        each = np.asarray(means[self.corrected], np.float64).reshape(self.form.groups, -1)
        return np.repeat(each, self.form.size // each.shape[1], axis=1)


def roundable(view: GraphView, weight: WeightPlan) -> bool:
    """Whether the integers of `weight` can be chosen: at most 8 bits of a Conv, Gemm or MatMul, of a size whose sums
    are held in memory."""
    scheme = weight.scheme
    if not scheme.dtype.integer or (scheme.emulated_bits or scheme.dtype.bits) > _MOST_BITS:
        return False
    node = view.node(weight.node)
    form = form_of(view, node, weight.port)
    if form is None or view.tensors[node.inputs[0]].kind == "constant":
        return False
    return gram_bytes(form.groups, form.size) <= LARGEST


def agreed(weights: Iterable[WeightPlan], view: GraphView) -> tuple[WeightPlan, ...]:
    """`weights`, those left to the nearest integers that are stored once and read in two ways, or on two datasets."""
    found, ways = tuple(weights), dict[WeightKey, set[tuple[Form | None, str | None]]]()
    for weight in found:
        way = form_of(view, view.node(weight.node), weight.port), weight.rounded_on
        ways.setdefault(weight_key(weight, view), set()).add(way)
    return tuple(
        weight if len(ways[weight_key(weight, view)]) == 1 else replace(weight, rounded_on=None) for weight in found
    )


def layers(plan: Plan, view: GraphView) -> list[Layer]:
    """Those that `plan` asks for, in graph order."""
    order = {node.name: number for number, node in enumerate(view.nodes)}
    corrected = {bias.node: bias.activation for bias in plan.corrections}
    uses: dict[WeightKey, list[WeightPlan]] = {}
    for weight in sorted(plan.weights, key=lambda weight: order[weight.node]):
        if weight.rounded_on is not None:
            uses.setdefault(weight_key(weight, view), []).append(weight)
    found = (_layer(key, each, view, corrected) for key, each in uses.items())
    return [layer for layer in found if layer is not None]


def _layer(key: WeightKey, uses: list[WeightPlan], view: GraphView, corrected: Mapping[str, str]) -> Layer | None:
    """What reads a weight, all alike (`agreed`)."""
    form, data = form_of(view, view.node(uses[0].node), uses[0].port), uses[0].rounded_on
    if form is None or data is None:
        return None
    nodes = tuple(weight.node for weight in uses)
    inputs = tuple(view.node(name).inputs[0] for name in nodes)
    # Of several nodes each bias is corrected by itself; the integers are theirs in common, and keep their means.
    return Layer(key, form, nodes, inputs, data, corrected.get(nodes[0]) if len(nodes) == 1 else None)


def parts(found: Iterable[Layer]) -> Iterator[list[Layer]]:
    """Layers in parts whose sums are held at once, in order."""
    part: list[Layer] = []
    held = 0
    for layer in found:
        if part and held + layer.bytes > _AT_ONCE:
            yield part
            part, held = [], 0
        part.append(layer)
        held += layer.bytes
    if part:
        yield part
