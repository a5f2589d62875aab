"""Fold the factors of a Gemm into its constants.

    alpha (a w) + beta b  ->  a (alpha w) + (beta b)

Fires where alpha or beta is not 1 and what it multiplies is a constant. With both 1 the integer kernel adds a bias.
Refuses a product that is not finite in the type of the constant. Leaves a factor of what is computed.
Guarantees that the node keeps its name; bit for bit the same where the factors are powers of two, else constants are
rounded once more, after a product in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_constant, replace_input, set_attr
from qdsl.graph.model import Model
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.passes.output_channels import channels_of, groups_of, plain_float, scaled_constant
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op


@dataclass(frozen=True, slots=True)
class FoldFactors(Rewrite):
    """No options."""

    name: ClassVar[str] = "fold_factors"
    summary: ClassVar[str] = "fold alpha and beta of a Gemm into its constants"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if not is_op(node, "Gemm"):
                continue
            for key, port in (("alpha", 1), ("beta", 2)):
                if not _foldable(node, key, port):
                    continue
                if not _fold(model, node, key, port):
                    changes.refuse(node.name, f"{key} makes a constant that is not finite")
                    continue
                changes.fire(f"fold_{key}", [node.name])
        return changes.outcome()


def _foldable(node: gs.Node, key: str, port: int) -> bool:
    if node.attrs.get(key, 1.0) == 1.0 or len(node.inputs) <= port or not plain_float(node.inputs[port]):
        return False
    return port != 1 or channels_of(node) > 0


def _fold(model: Model, node: gs.Node, key: str, port: int) -> bool:
    constant, factor = node.inputs[port], float(node.attrs[key])
    value = lazy_of(constant)
    with np.errstate(all="ignore"):
        largest = np.abs(value.load()).max(initial=0).astype(np.float64) * abs(factor)
    if not largest <= np.finfo(value.load().dtype).max:
        return False
    name = f"{constant.name}_{key}"
    if port == 1:
        made = scaled_constant(model, name, value, np.full(channels_of(node), factor), groups_of(node))
    else:
        stored = value.load()
        made = add_constant(model, name, (stored.astype(np.float64) * factor).astype(stored.dtype))
    replace_input(model, node, port, made)
    set_attr(node, key, None)
    return True
