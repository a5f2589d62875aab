"""What each node that multiplies computes in, from the layers of the engine.

A node stands in the layer that multiplies, and often in one that adds its bias or runs its activation (`kgen`), which
says nothing of it. What an INT8 layer writes is always a float in TensorRT-RTX: a layer behind it quantizes, so nothing
follows from it for other builders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qdsl.engines.rtx.layers import Layer
from qdsl.spec.engine import DROPPED, ELIMINATED, FP8, INT8, UNKNOWN, WEIGHT_ONLY, EngineVerdict

MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_NARROW = frozenset({"Int8", "FP8", "Int4", "FP4"})
_MULTIPLIES = frozenset({"correlation", "gemm", "deconv"})
_FUSED = "runtime_fusion"
GENERATED = "kgen"


def verdicts(nodes: Iterable[tuple[str, str]], found: Sequence[Layer]) -> dict[str, EngineVerdict]:
    """By node, in the order of `nodes`: (name, operator) of those that multiply."""
    standing: dict[str, list[Layer]] = {}
    for layer in found:
        for node in dict.fromkeys(layer.nodes):
            standing.setdefault(node, []).append(layer)
    return {name: _verdict(op, standing.get(name, ())) for name, op in nodes}


def _verdict(op: str, told: Sequence[Layer]) -> EngineVerdict:
    if not told:
        return EngineVerdict(ELIMINATED, because="no layer stands for it")
    main = [each for each in told if each.kind in _MULTIPLIES]
    if main:
        return _multiplied(op, main)
    fused = [each for each in told if each.kind == _FUSED]
    if fused:
        return _fused(fused)
    narrow = [each for each in told if _NARROW & {*each.inputs, *each.constants}]
    if narrow:
        return EngineVerdict(UNKNOWN, narrow[0].name, "generated code that reads integers")
    return EngineVerdict(DROPPED, told[0].name, "generated code on floats alone")


def _multiplied(op: str, main: Sequence[Layer]) -> EngineVerdict:
    for layer in main:
        data, constants = _NARROW.intersection(layer.inputs), _NARROW.intersection(layer.constants)
        if data and (constants or len(layer.inputs) > 1):
            return EngineVerdict(INT8 if "Int8" in data else FP8, layer.name, _types(layer))
    mixed = next((each for each in main if _NARROW.intersection(each.inputs)), None)
    if mixed is not None:
        return EngineVerdict(UNKNOWN, mixed.name, _types(mixed))
    # A ConvTranspose is a layer of floats there whatever its pairs are; other builders of TensorRT have kernels.
    return EngineVerdict(DROPPED, main[0].name, _types(main[0]), holds_elsewhere=op != "ConvTranspose")


def _fused(fused: Sequence[Layer]) -> EngineVerdict:
    """A fusion is compiled on the GPU: which type it multiplies in is known only where no integer reaches it."""
    if any(_NARROW.intersection(each.inputs) for each in fused):
        return EngineVerdict(UNKNOWN, fused[0].name, "fused with what reads integers")
    stored = next((each for each in fused if _NARROW.intersection(each.constants)), None)
    if stored is not None:
        return EngineVerdict(WEIGHT_ONLY, stored.name, "integer weights beside floats")
    return EngineVerdict(DROPPED, fused[0].name, "fused, on floats alone")


def _types(layer: Layer) -> str:
    """`correlation of Int8 with Int8`."""
    data = "/".join(dict.fromkeys(layer.inputs)) or "nothing"
    constants = "/".join(sorted(_NARROW.intersection(layer.constants))) or "/".join(dict.fromkeys(layer.constants))
    return f"{layer.kind} of {data}{f' with {constants}' if constants else ''}"
