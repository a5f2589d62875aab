"""The facts that every format tells of a finished file: its tensors, its operators, what a target runs of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qdsl.auditing.report import Counts, NodeFacts, TensorFacts
from qdsl.capability import Capability
from qdsl.finished.records import Finished, QuantizedTensor
from qdsl.graph import Model
from qdsl.graph.constants import outside
from qdsl.graph.view import GraphView, NodeView, TensorView
from qdsl.predict.macs import macs
from qdsl.spec.plan import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray


def tensor_facts(finished: Finished) -> tuple[TensorFacts, ...]:
    """Every tensor that the file holds or passes in integers, in graph order."""
    return tuple(_tensor(each, finished.view) for each in finished.tensors)


def _tensor(each: QuantizedTensor, view: GraphView) -> TensorFacts:
    known, held = each.parameters, view.tensors.get(each.tensor) or view.tensors.get(each.stored)
    scale_low, scale_high = _ends(known.scale)
    zero_low, zero_high = _ends(known.zero_point)
    return TensorFacts(
        tensor=each.tensor,
        role=each.role.value,
        form=each.form.value,
        element=known.element,
        scale_element=known.scale_element,
        granularity=known.granularity.value,
        axis=known.axis,
        block=known.block,
        shape=None if held is None else held.shape,
        scales=0 if known.scale is None else int(known.scale.size),
        scale_low=scale_low,
        scale_high=scale_high,
        zero_low=zero_low,
        zero_high=zero_high,
        low=known.low,
        high=known.high,
        group=known.key,
        quantizers=each.quantizers,
        dequantizers=each.dequantizers,
        between=each.between,
        readers=tuple((reader.node, reader.port) for reader in each.readers),
        stored=each.stored,
        origin=each.origin,
    )


def _ends(values: NDArray[Any] | None) -> tuple[float | None, float | None]:
    """The smallest and the largest value that is a number."""
    import numpy as np

    if values is None or not values.size:
        return None, None
    wide = np.asarray(values, np.float64)
    finite = wide[np.isfinite(wide)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def node_facts(view: GraphView) -> tuple[NodeFacts, ...]:
    """The operators of a float graph, in graph order."""
    return tuple(
        NodeFacts(node.name, node.op, node.domain, node.inputs, node.outputs, macs(view, node)) for node in view.nodes
    )


def counts(
    nodes: Sequence[NodeFacts], view: GraphView, runs: Mapping[str, Prediction], table: Capability
) -> tuple[Counts, tuple[str, ...]]:
    """How much of it runs in integers, and which nodes multiply floats. What multiplies is what has MACs, or what the
    table has weights for where they are not known."""
    heavy = [node for node, seen in zip(nodes, view.nodes, strict=True) if _multiplies(node, seen, view, table)]
    floats = tuple(node.name for node in heavy if not in_integers(runs[node.name]))
    left = frozenset(floats)
    ops: dict[str, tuple[int, int]] = {}
    for node in heavy:
        done, whole = ops.get(node.op, (0, 0))
        ops[node.op] = (done + (node.name not in left), whole + 1)
    found = Counts(
        nodes=len(nodes),
        weighted=len(heavy),
        weighted_integer=len(heavy) - len(floats),
        ops=dict(sorted(ops.items())),
        macs=sum(node.macs or 0 for node in nodes),
        integer_macs=sum(node.macs or 0 for node in heavy if node.name not in left),
        uncounted=sum(node.macs is None for node in nodes),
        runs=dict(sorted(Counter(runs[node.name].runs for node in nodes).items())),
    )
    return found, floats


def _multiplies(node: NodeFacts, seen: NodeView, view: GraphView, table: Capability) -> bool:
    return bool(node.macs or (node.macs is None and table.row_for(seen, view).weights))


def in_integers(verdict: Prediction) -> bool:
    """Whether a node multiplies integers."""
    return verdict.runs in ("integer", "absorbed") and not verdict.float_products


def passed(finished: Finished) -> dict[str, str]:
    """What every node that quantizes or dequantizes reads, by what it writes."""
    names = dict.fromkeys(name for each in finished.tensors for name in (*each.quantizers, *each.dequantizers))
    nodes = (finished.view.node(name) for name in names)
    return {node.outputs[0]: node.inputs[0] for node in nodes if node.inputs and node.outputs}


def types(view: GraphView) -> dict[str, str]:
    """`float32 [1, 3, 640, 640]` for every tensor that is no constant."""
    return {name: _type(tensor) for name, tensor in view.tensors.items() if tensor.kind != "constant"}


def _type(tensor: TensorView) -> str:
    kind = tensor.dtype or "unknown"
    if tensor.shape is None:
        return kind
    return f"{kind} [{', '.join('?' if dim is None else str(dim) for dim in tensor.shape)}]"


def producer(model: Model) -> str:
    """What the file says made it: name and version, "" where it says nothing."""
    version = model.shell.producer_version
    return f"{model.shell.producer_name} {version if version != 'None' else ''}".strip()[:200]


def file_bytes(model: Model) -> int:
    """Size of the model, with the external data that it uses."""
    inside = model.source.size if model.source is not None else 0
    return inside + sum(_outside(model))


def _outside(model: Model) -> Iterator[int]:
    for constant in model.constants():
        found = outside(model.lazy(constant.name))
        if found is not None:
            yield found.nbytes


def opsets(model: Model) -> dict[str, int]:
    """The version of each operator set that the file imports; "" is ai.onnx."""
    found = getattr(model.graph, "import_domains", None) or ()
    return {"": model.opset, **{str(each.domain): int(each.version) for each in found if each.domain}}
