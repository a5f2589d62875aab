"""Turn Constant nodes into initializers.

Fires on every Constant with a dense value (`value`, `value_float(s)`, `value_int(s)`, `value_string(s)`). The
initializer has the name of the node's output, so that graph outputs and bodies that refer to it keep working.
Refuses a `sparse_value`, which stays a node.
Guarantees that every other stage sees constants in one form only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Held, Lazy, lazy_of
from qdsl.graph.dtypes import type_number
from qdsl.graph.edit import remove_node, to_constant
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_TYPES = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
    "value_string": "string",
    "value_strings": "string",
}


def constants_are_initializers(model: Model) -> Iterator[str]:
    """No Constant node with a dense value."""
    return (node.name for node in model.nodes() if is_op(node, "Constant") and dense_value(node) is not None)


@dataclass(frozen=True, slots=True)
class ConstantNodes(Rewrite):
    """No options."""

    name: ClassVar[str] = "constant_nodes"
    summary: ClassVar[str] = "turn Constant nodes into initializers"
    ensures: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if not is_op(node, "Constant"):
                continue
            value = dense_value(node)
            if value is None:
                changes.refuse(node.name, "it has no dense value")
                continue
            to_constant(model, node.outputs[0], value)
            remove_node(model, node)
            changes.fire("constant_to_initializer", [node.name])
        return changes.outcome()


def dense_value(node: gs.Node) -> Lazy | None:
    """The dense value of a Constant node; None for a sparse one, or where it has none."""
    tensor = node.attrs.get("value")
    if isinstance(tensor, gs.Constant):
        return lazy_of(tensor)
    for attribute, kind in _TYPES.items():
        if attribute in node.attrs:
            found = node.attrs[attribute]
            array = np.array(found, object if kind == "string" else kind)
            return Held(array, type_number(kind))
    return None
