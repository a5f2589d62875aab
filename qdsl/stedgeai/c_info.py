"""`network_c_info.json` (json_schema_version 2.0): nodes, buffers and the plan of memory of ST's C."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from qdsl.spec.bounds import Count, Number, Text, UnfitError, Whole, shown
from qdsl.spec.decode import json_data
from qdsl.stedgeai.arena import Checked, Lying, check
from qdsl.stedgeai.kernels import by_formats, by_function
from qdsl.stedgeai.told import UNKNOWN, Amount, Name, NodeTold, ScoreTold, Told, listed, picked

SCHEMA = "2.0"
_DEEPEST, _MOST_POWER = 4, 1e18
_Id = Annotated[int, Whole(-(1 << 31), 1 << 31)]
_Ids = tuple[_Id, ...]


@dataclass(frozen=True, slots=True)
class _Footprint:
    """Of the runtime (kernel_*) and what the compiler adds (toolchain_*) neither is known without one: 0 or null."""

    activations: Count
    weights: Count
    io: tuple[Count, ...] = ()
    kernel_flash: Count | None = None
    kernel_ram: Count | None = None
    toolchain_flash: Count | None = None
    toolchain_ram: Count | None = None
    series: Name | None = None


@dataclass(frozen=True, slots=True)
class _Epochs:
    start: _Id
    end: _Id


@dataclass(frozen=True, slots=True)
class _Buffer:
    id: _Id
    name: Name
    size_bytes: Annotated[int, Whole(-1)]
    format: Name = ""
    is_param: bool = False
    mpool_id: _Id | None = None
    offset_start: Annotated[int, Whole(-1)] | None = None
    epochs: Any = None


@dataclass(frozen=True, slots=True)
class _Pool:
    id: _Id
    used_size_bytes: Annotated[int, Whole(-1)] | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    name: Name
    macc: Count | None = None
    type: Name = ""
    sw_functions: tuple[Name, ...] | None = ()
    inputs: _Ids = ()
    outputs: _Ids = ()


@dataclass(frozen=True, slots=True)
class _Time:
    """-1 is a figure that is not known."""

    duration_ms: Annotated[float, Number(-1.0, 1e9)] | None = None
    cycles: Annotated[float, Number(-1.0, 1e18)] | None = None
    device: Annotated[str, Text(1000)] | None = None


@dataclass(frozen=True, slots=True)
class _Metric:
    desc: Name = ""
    ts_name: Name = ""
    acc: Annotated[float, Number(-1.0, 100.0)] | None = None
    rmse: Amount | None = None
    mae: Amount | None = None
    l2r: Amount | None = None
    mean: Amount | None = None
    std: Amount | None = None
    nse: Amount | None = None
    cos: Amount | None = None


@dataclass(frozen=True, slots=True)
class _File:
    name: Name = ""
    signature: Name = ""


@dataclass(frozen=True, slots=True)
class _Tool:
    version: Annotated[str, Text(200, filled=True)]
    arguments: str = ""
    input_model: Mapping[str, Any] = field(default_factory=dict)


def read_c_info(text: str) -> Told:
    """Raises UnfitError with the place of what does not fit."""
    data = json_data(text)
    if not isinstance(data, dict):
        raise UnfitError("it is no network_c_info.json: expected an object")
    if data.get("json_schema_version") != SCHEMA:
        found = shown(data.get("json_schema_version"))
        raise UnfitError(f"expected {SCHEMA!r}, found {found}", "json_schema_version")
    tool, file = _tool(data.get("environment"))
    sizes = picked(_Footprint, data.get("memory_footprint"), "memory_footprint")
    graph = _graph(data.get("graphs"))
    nodes = _parts(_Node, graph.get("nodes", []), "graphs[0].nodes")
    buffers = _parts(_Buffer, data.get("buffers", []), "buffers")
    arena = _arena(nodes, buffers, _parts(_Pool, data.get("memory_pools", []), "memory_pools"))
    time = picked(_Time, graph.get("exec_time") or {}, "graphs[0].exec_time")
    inputs, outputs = (*sizes.io, None, None)[:2]
    return Told(
        version=tool.version,
        command=tool.arguments.split(" ", 1)[0][:100],
        series=sizes.series if sizes.series not in (None, "generic") else "",
        model=file.name,
        model_hash=file.signature,
        macc=sum(each.macc or 0 for each in nodes),
        weights=sizes.weights,
        activations=sizes.activations,
        inputs=inputs,
        outputs=outputs,
        flash=_whole(sizes.weights, sizes.kernel_flash, sizes.toolchain_flash),
        ram=_whole(sizes.activations + sum(sizes.io), sizes.kernel_ram, sizes.toolchain_ram),
        runtime_flash=sizes.kernel_flash or None,
        runtime_ram=sizes.kernel_ram or None,
        nodes=tuple(_node(each, {buffer.id: buffer for buffer in buffers}) for each in nodes),
        scores=scores(_validation(data), "validation.val_metrics"),
        seconds=None if time.duration_ms is None or time.duration_ms < 0 else time.duration_ms / 1000,
        cycles=None if time.cycles is None or time.cycles < 0 else round(time.cycles),
        device=time.device or "",
        power=dict(_figures(data.get("power_estimates", graph.get("power_estimates")))),
        in_place=arena.in_place,
        overlaps=arena.overlaps,
    )


def scores(data: Any, where: str) -> tuple[ScoreTold, ...]:
    """The metrics of `validate` in JSON: an accuracy as a share or in percent, negative where there is none."""
    return tuple(_score(each) for each in _parts(_Metric, data, where))


def _score(each: _Metric) -> ScoreTold:
    acc = None if each.acc is None or each.acc < 0 else each.acc / 100 if each.acc > 1 else each.acc
    rest = (each.rmse, each.mae, each.l2r, each.mean, each.std, each.nse, each.cos)
    return ScoreTold(each.desc or each.ts_name or "output", each.ts_name, acc, *rest)


def _parts(kind: type[Any], data: Any, where: str) -> tuple[Any, ...]:
    return tuple(picked(kind, each, f"{where}[{at}]") for at, each in enumerate(listed(data, where)))


def _tool(environment: Any) -> tuple[_Tool, _File]:
    if not isinstance(environment, dict):
        raise UnfitError("it does not say which tool wrote it", "environment")
    tools = _parts(_Tool, environment.get("tools", []), "environment.tools")
    if not tools:
        raise UnfitError("it does not say which tool wrote it", "environment.tools")
    where = "environment.tools[0].input_model.model_files"
    files = _parts(_File, tools[0].input_model.get("model_files", []), where)
    return tools[0], files[0] if files else _File()


def _graph(data: Any) -> Mapping[str, Any]:
    graphs = listed(data, "graphs")
    if not graphs or not isinstance(graphs[0], dict):
        raise UnfitError("expected a graph", "graphs[0]")
    return graphs[0]


def _validation(data: Mapping[str, Any]) -> Any:
    found = data.get("validation")
    return found.get("val_metrics", []) if isinstance(found, dict) else []


def _whole(own: int, kernel: int | None, toolchain: int | None) -> int | None:
    """Everything, where the runtime is known: it never takes nothing."""
    return own + kernel + (toolchain or 0) if kernel else None


def _node(each: _Node, buffers: Mapping[int, _Buffer]) -> NodeTold:
    functions = each.sw_functions or ()
    runs = by_function(functions)
    if runs == UNKNOWN:
        tensors = (buffers[at] for at in (*each.inputs, *each.outputs) if at in buffers)
        runs = by_formats(tensor.format for tensor in tensors if not tensor.is_param)
    return NodeTold(each.name, each.type, each.macc, runs, functions)


def _arena(nodes: Sequence[_Node], buffers: Sequence[_Buffer], pools: Sequence[_Pool]) -> Checked:
    lying = [found for at, each in enumerate(buffers) if (found := _lying(each, f"buffers[{at}]")) is not None]
    meant = {(read, written) for node in nodes for read in node.inputs for written in node.outputs}
    used = {pool.id: pool.used_size_bytes for pool in pools if pool.used_size_bytes is not None}
    return check(lying, meant, {pool: size for pool, size in used.items() if size >= 0})


def _lying(each: _Buffer, where: str) -> Lying | None:
    """Where a buffer lies that is written; None for weights, and where it is not told."""
    if each.is_param or each.mpool_id is None or each.offset_start is None or each.epochs is None:
        return None
    if min(each.offset_start, each.size_bytes) < 0:
        return None
    epochs = picked(_Epochs, each.epochs, f"{where}.epochs")
    if epochs.end < epochs.start:
        raise UnfitError(f"expected epochs in order, found {epochs.start} to {epochs.end}", f"{where}.epochs")
    return Lying(each.id, each.name, each.mpool_id, each.offset_start, each.size_bytes, epochs.start, epochs.end)


def _figures(data: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """The numbers in what 9.0 says of power, by their path: their names say what they are. Raises UnfitError."""
    if isinstance(data, bool) or depth > _DEEPEST:
        return
    if isinstance(data, int | float):
        yield where[:200], Number(-_MOST_POWER, _MOST_POWER).read(data)
    elif isinstance(data, dict):
        for name, value in list(data.items())[:100]:
            yield from _figures(value, f"{where}.{name}".removeprefix("."), depth + 1)
