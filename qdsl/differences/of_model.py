"""A model file as a side of a comparison: whoever made it, quantized or not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from qdsl.auditing.running import what_runs
from qdsl.capability import load as load_table
from qdsl.differences.attributes import attributes
from qdsl.differences.of_plan import place
from qdsl.differences.side import Node, Side, Tensor, Weight
from qdsl.finished.collapse import collapse
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph import Model, load
from qdsl.graph.constants import outside
from qdsl.graph.view import GraphView
from qdsl.predict.macs import macs
from qdsl.spec.plan import Prediction
from qdsl.targets import target_of

_TARGET = "ort"
_STORED = (Role.WEIGHT, Role.BIAS)


def side_of_model(path: Path, name: str, target: str | None) -> Side:
    """What the file holds, and what `target` (None: ONNX Runtime) will run of it. Raises QdslError with what is wrong
    with the file."""
    model = load(path)
    finished = read(model)
    collapsed = collapse(finished)
    wanted = target or _TARGET
    room = target_of(wanted)
    runs = what_runs(finished, collapsed, room.runtime, load_table(room.table))
    counted = {node.name: macs(collapsed.view, node) for node in collapsed.view.nodes}
    nodes = dict(_nodes(finished, collapsed, runs))
    return Side(
        name=name,
        kind="model",
        target=wanted,
        nodes=nodes,
        tensors=dict(_tensors(finished)),
        weights=dict(_weights(finished, collapsed)),
        lines=tuple(_ends(finished.view)),
        macs=sum(each or 0 for each in counted.values()),
        integer_macs=sum(counted[name] or 0 for name, node in nodes.items() if node.runs in ("integer", "absorbed")),
        size=_bytes(model),
    )


def _nodes(finished: Finished, collapsed: Collapsed, runs: Mapping[str, Prediction]) -> Iterator[tuple[str, Node]]:
    stored: defaultdict[str, set[str]] = defaultdict(set)
    passed: defaultdict[str, set[str]] = defaultdict(set)
    for each in finished.tensors:
        if each.role is not Role.BIAS:
            types = stored if each.role is Role.WEIGHT else passed
            for reader in each.readers:
                types[reader.node].add(each.parameters.element)
    view = collapsed.view
    for node in view.nodes:
        found = runs.get(node.name)
        weights, reads = (", ".join(sorted(types[node.name])) for types in (stored, passed))
        sources = tuple(_source(view, name) for name in node.inputs)
        op = node.op if not node.domain else f"{node.domain}.{node.op}"
        yield (
            node.name,
            Node(op, found.runs if found else "float", weights, reads, tuple(attributes(node, view.opset)), sources),
        )


def _source(view: GraphView, name: str) -> str:
    """Who writes a tensor, by node: its own name is often another after each export."""
    producer = view.producer(name)
    if producer is not None:
        return f"{producer.name}:{producer.outputs.index(name)}"
    return "constant" if view.is_constant(name) else f"input {name}" if name else ""


def _ends(view: GraphView) -> Iterator[str]:
    """What the model takes and gives."""
    yield f"opset {view.opset}"
    for word, names in (("input", view.inputs), ("output", view.outputs)):
        for name in names:
            found = view.tensors.get(name)
            shape = "?" if found is None or found.shape is None else " ".join(str(d or "?") for d in found.shape)
            yield f"{word} {name}: {(found.dtype if found else None) or 'unknown'} [{shape}]"


def _tensors(finished: Finished) -> Iterator[tuple[str, Tensor]]:
    """Activations by name; one that is quantized twice gets a number behind it. Which of them share a scale on purpose
    a file does not say: ranges of [0, 6] are equal by themselves."""
    seen: dict[str, int] = {}
    for each in finished.tensors:
        if each.role in _STORED:
            continue
        seen[each.tensor] = seen.get(each.tensor, 0) + 1
        name = each.tensor if seen[each.tensor] == 1 else f"{each.tensor} ({seen[each.tensor]})"
        yield (
            name,
            Tensor(
                scheme=scheme(each),
                readers=tuple(place(reader) for reader in each.readers),
                scales=_numbers(each.parameters.scale),
                zeros=tuple(int(zero) for zero in _numbers(each.parameters.zero_point)),
            ),
        )


def scheme(record: QuantizedTensor) -> str:
    """`uint8 per_tensor`. Whether it was meant to be symmetric the zero point does not say: it stands beside."""
    found = record.parameters
    words = [found.element, found.granularity.value]
    words += [str(found.block)] if found.block else []
    words += [f"{found.low}..{found.high}"] if found.low is not None else []
    words += [record.form.value] if record.form in (Form.DYNAMIC, Form.FAKE) else []
    return " ".join(words)


def _weights(finished: Finished, collapsed: Collapsed) -> Iterator[tuple[str, Weight]]:
    quantized = set()
    for each in finished.tensors:
        if each.role not in _STORED:
            continue
        digest = _digest(finished.model, each.stored)
        for reader in each.readers:
            quantized.add((reader.node, reader.port))
            yield f"{reader.node}:{reader.port}", Weight(scheme(each), _numbers(each.parameters.scale), digest)
    for node in collapsed.view.nodes:
        for port, name in enumerate(node.inputs):
            tensor = collapsed.view.tensors.get(name)
            if tensor is None or tensor.kind != "constant" or (node.name, port) in quantized:
                continue
            yield f"{node.name}:{port}", Weight(tensor.dtype or "unknown", (), _digest(finished.model, name))


def _digest(model: Model, name: str) -> str:
    """Of the stored bytes; "" where they are computed from something else."""
    try:
        value = model.lazy(name)
    except KeyError:
        return ""
    digest = hashlib.sha256(f"{value.element_type} {value.shape} ".encode())
    for chunk in value.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _numbers(array: object) -> tuple[float, ...]:
    return () if array is None else tuple(float(value) for value in np.asarray(array, np.float64).reshape(-1))


def _bytes(model: Model) -> int:
    """The file with its external data."""
    found = (outside(model.lazy(constant.name)) for constant in model.constants())
    beside = sum(value.nbytes for value in found if value is not None)
    return (model.source.size if model.source else 0) + beside
