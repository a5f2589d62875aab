"""What the C has no kernel for, and what it has to know of a graph: told before anything is planned."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.capability import FLOAT, Capability
from qdsl.graph.view import GraphView, NodeView, TensorView
from qdsl.spec.words import plain
from qdsl.targets.base import Lack
from qdsl.targets.lacking import operator

# Rows of the table for what has no kernel, neither in integers nor in floats, are called so.
_ABSENT = "no_"
_OTHER = "other"
_SHOWN = 5


def lacks(view: GraphView, capability: Capability) -> tuple[Lack, ...]:
    """Each operator that has no kernel here, once, with why; then sizes that are not known, a batch, an opset."""
    return (*_operators(view, capability), *_sizes(view), *_opset(view, capability))


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
    free = [view.tensors[name] for name in view.inputs if not _known(view.tensors[name])]
    if free:
        shown = ", ".join(str(1 if index == 0 else "N") for index in range(len(free[0].shape or ()) or 1))
        cure = f'fix it in the recipe: `input "{plain(free[0].name[:80])}" {{ shape [{shown}] }}`'
        yield Lack(
            f"the size of the input `{plain(free[0].name[:80])}` is not known before it runs",
            "memory is laid out when the C is written: every size has to be known",
            (cure,),
        )
        return
    unknown = [tensor for tensor in view.tensors.values() if tensor.kind != "constant" and not _known(tensor)]
    if unknown:
        yield Lack(
            f"the size of `{plain(unknown[0].name[:80])}` is not known before it runs",
            "memory is laid out when the C is written: every size has to be known",
            ("export the model with fixed sizes, or simplify its shape arithmetic",),
        )
        return
    for tensor in (view.tensors[name] for name in view.inputs):
        if tensor.shape and len(tensor.shape) > 1 and tensor.shape[0] != 1:
            yield Lack(
                f"the input `{plain(tensor.name[:80])}` takes {tensor.shape[0]} samples at once",
                "the C computes one sample per run",
                ("export the model with a batch of 1",),
            )


def _known(tensor: TensorView) -> bool:
    return tensor.shape is not None and all(isinstance(size, int) for size in tensor.shape)


def _opset(view: GraphView, capability: Capability) -> Iterator[Lack]:
    if view.opset > capability.max_opset:
        yield Lack(
            f"the model has opset {view.opset}, and ST's tool reads up to {capability.max_opset}",
            "beside the C a file for ST Edge AI Core is written",
            ("export the model with opset 17",),
        )
