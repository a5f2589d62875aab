"""What the C has no kernel for, and what it has to know of a graph: told before anything is planned."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.capability import FLOAT, Capability
from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec.words import plain
from qdsl.targets.base import Lack
from qdsl.targets.lacking import operator

# Rows of the table for what has no kernel, neither in integers nor in floats, are called so.
_ABSENT = "no_"
_OTHER = "other"
_SHOWN = 5


def lacks(view: GraphView, capability: Capability) -> tuple[Lack, ...]:
    """Each operator that has no kernel here, once, with why; then sizes that are not known, a batch, an opset. Of a
    file that is quantized already, which the table's rows do not speak of, making the C tells what has no form."""
    quantized = any(says_quantized(node.op) for node in view.nodes)
    return (*(() if quantized else _operators(view, capability)), *_sizes(view), *_opset(view, capability))


def _operators(view: GraphView, capability: Capability) -> Iterator[Lack]:
    found: dict[str, list[NodeView]] = {}
    for node in view.nodes:
        row = capability.row_for(node, view)
        if row.kind == FLOAT and (row.name == _OTHER or row.name.startswith(_ABSENT)):
            found.setdefault(f"{operator(node)}: {row.because}", []).append(node)
    for why, nodes in found.items():
        names = ", ".join(f"`{plain(node.name[:80])}`" for node in nodes[:_SHOWN])
        more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
        kind, because = why.split(": ", 1)
        cures = (f"export the model without {kind}, or cut it before {names.split(',')[0]}",)
        yield Lack(f"{capability.title} has no kernel for {kind}: {names}{more}", because, cures)


def _sizes(view: GraphView) -> Iterator[Lack]:
    """Of inputs: what is computed of them follows. A free first dimension counts samples, and there is one."""
    for tensor in (view.tensors[name] for name in view.inputs):
        name, shape = plain(tensor.name[:80]), tensor.shape
        if shape is None or not all(isinstance(size, int) for size in shape[1:]):
            shown = ", ".join(["1", *("N" for _ in (shape or ())[1:])])
            yield Lack(
                f"the size of the input `{name}` is not known before it runs",
                "memory is laid out when the C is written: every size has to be known",
                (f'fix it in the recipe, N being its sizes: `input "{name}" {{ shape [{shown}] }}`',),
            )
        elif len(shape) > 1 and isinstance(shape[0], int) and shape[0] != 1:
            yield Lack(
                f"the input `{name}` takes {shape[0]} samples at once",
                "the C computes one sample per run",
                ("export the model with a batch of 1",),
            )


def _opset(view: GraphView, capability: Capability) -> Iterator[Lack]:
    if view.opset > capability.max_opset:
        yield Lack(
            f"the model has opset {view.opset}, and ST's tool reads up to {capability.max_opset}",
            "beside the C a file for ST Edge AI Core is written",
            ("export the model with opset 17", "compile what raises it, such as int4 for another target, by itself"),
        )
