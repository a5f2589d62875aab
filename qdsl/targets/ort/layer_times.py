"""What each node takes when ONNX Runtime runs a model: its profile, read back onto the nodes of the float graph."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import onnx

from qdsl.diag import Span
from qdsl.graph.sessions import DEPLOYED, RuntimeRefusesError, Session
from qdsl.graph.view import GraphView
from qdsl.spec.scratch import scratch
from qdsl.targets.base import Feed
from qdsl.targets.ort.exposing import refused
from qdsl.targets.results import LayerTimes

_WARM_UP = 2
_TIMED = "_kernel_time"
_LAYOUT = "_nchwc"  # behind the name of what a convolution in the runtime's own layout writes
_MOVED = re.compile(r"_token_\d+$")  # behind the name of what was given another layout
_FUSED = "fused "  # before the name of a convolution that took an activation in
_CONVERT = ("QuantizeLinear", "DequantizeLinear")
_WORTH = 1000  # elements: what converts fewer takes the time of a call


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A node of the graph that runs: the least milliseconds of its runs, and the elements that it writes."""

    name: str
    op: str
    milliseconds: float
    elements: int


def layer_times(
    model: Path,
    view: GraphView,
    entries: Mapping[str, str],
    threads: int,
    feed: Feed,
    runs: int,
    *,
    span: Span | None = None,
) -> LayerTimes:
    """Times of a file made of the float graph `view`, as it is deployed. What the runtime added to change layouts
    counts with the node that it does so for. Raises QdslError artifact-refused."""
    with scratch() as folder:
        settings = replace(DEPLOYED, threads=threads, entries=entries, profile=folder)
        try:
            session = Session(model, replace(settings, optimized=folder / "optimized.onnx"))
            for _ in range(_WARM_UP + runs):
                session.run(session.outputs, feed)
        except RuntimeRefusesError as error:
            raise refused("the model", error, span) from None
        events = json.loads(session.profiled().read_bytes())
        graph = onnx.load(folder / "optimized.onnx", load_external_data=False).graph
    kernels = list(_kernels(events))
    owners = _owners(graph, view)
    nodes: dict[str, float] = {}
    for each in kernels:
        owner = None if each.op in _CONVERT else owners.get(each.name)
        if owner is not None:
            nodes[owner] = nodes.get(owner, 0.0) + each.milliseconds
    quantize, dequantize = (_each(kernels, op) for op in _CONVERT)
    return LayerTimes(nodes, quantize, dequantize, sum(each.milliseconds for each in kernels))


def _kernels(events: Iterable[Mapping[str, Any]]) -> Iterator[_Kernel]:
    """One per node that ran, from the events of all runs."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith(_TIMED):
            key = (str(event["args"].get("node_index", "")), str(event["name"]))
            found.setdefault(key, []).append(event)
    for (_, name), runs in found.items():
        args = runs[-1]["args"]
        least = min(int(event["dur"]) for event in runs[_WARM_UP:] or runs)
        yield _Kernel(name.removesuffix(_TIMED), str(args.get("op_name", "")), least / 1e3, _elements(args))


def _elements(args: Mapping[str, Any]) -> int:
    shapes = [shape for written in args.get("output_type_shape", ()) for shape in written.values()]
    return prod(shapes[0]) if shapes else 0


def _each(kernels: Iterable[_Kernel], op: str) -> float | None:
    rates = [each.milliseconds / each.elements for each in kernels if each.op == op and each.elements >= _WORTH]
    return median(rates) if rates else None


def _owners(graph: onnx.GraphProto, view: GraphView) -> dict[str, str]:
    """By the name of a node that runs, the node of the float graph that it runs for."""
    found = {node.name: owner for node in graph.node if (owner := _named(node.name, view)) is not None}
    readers: dict[str, list[str]] = {}
    writers = {name: node.name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    for node in reversed(graph.node):  # what prepares a value belongs to who reads it
        after = (found.get(name) for out in node.output for name in readers.get(out, ()))
        if node.name not in found and (owner := next(filter(None, after), None)) is not None:
            found[node.name] = owner
    for node in graph.node:  # and what is left behind to who wrote it
        before = (found.get(writers[name]) for name in node.input if name in writers)
        if node.name not in found and (owner := next(filter(None, before), None)) is not None:
            found[node.name] = owner
    return found


def _named(name: str, view: GraphView) -> str | None:
    """The node that a kernel is named after, None for none."""
    name = _MOVED.sub("", name.removeprefix(_FUSED))
    if name in view.node_index:
        return name
    writer = view.producer(name.removesuffix(_LAYOUT))
    if writer is not None:
        return writer.name
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in view.node_index:
            return name
    return None
