"""What would cure a cause, tried in the file itself: another range, scales per channel, or the tensor left in float.
What is told is the line of a recipe that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.causes.effects import Bench
from qdsl.causes.records import Cause, Cure, gain
from qdsl.causes.running import exposing, loaded
from qdsl.causes.switching import Member, Switch, fixed
from qdsl.finished.records import QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.graph.edit import add_constant, add_node, replace_input
from qdsl.lang.quoting import names
from qdsl.quant import dequantize, quantize_weight, scale_zero_point, weight_parameters
from qdsl.spec import DTYPES, Granularity, Scheme

MOST = 5  # causes that a cure is tried for
TRIED = "in this file"
_ON_THESE = "in this file, with the range of these samples"
_LEAST_SHARE = 0.05  # of the noise at the outputs: less is not worth a line
_LEAST_GAIN = 0.1  # dB
# A change that stays in integers is told where it gains nearly what float would: less a decibel, or a tenth.
_NEARLY_DB, _NEARLY = 1.0, 0.9
_CHANNELS = {"Conv": 0, "ConvTranspose": 1}  # the axis of output channels


@dataclass(frozen=True, slots=True)
class Alternative:
    """A change that keeps a switch's tensors in integers: the graph in which its switch, off, has that change."""

    line: str
    model: Model
    tried: str = TRIED


def worth_curing(causes: Sequence[Cause]) -> list[Cause]:
    """Those that a cure is tried for: of the first, those with a share that is worth it."""
    return [each for each in causes[:MOST] if each.share is not None and each.share >= _LEAST_SHARE]


def cure(bench: Bench, cause: Cause, switch: Switch, base: float | None) -> tuple[Cure | None, int]:
    """The change of the file that helps, the one that stays in integers where it does nearly as well, None where
    nothing helps; and how many runs per sample it took to try, at most three."""
    left = _left_out(cause, switch)
    gains = [(left, cause.without_db, TRIED)] if left else []
    other = _by_range(bench, switch) if switch.role is Role.ACTIVATION else _by_channel(bench, switch)
    if other is not None:
        gains.insert(0, (other.line, _error(bench, switch, other.model), other.tried))
    runs = 0 if other is None else 3 if switch.role is Role.ACTIVATION else 2
    return told_of(base, gains), runs


def told_of(base: float | None, tried: Sequence[tuple[str, float | None, str]]) -> Cure | None:
    """Of (line, error of the outputs, how it was tried), what stays in integers first, the one to tell: the first that
    helps nearly as much as the best; None where nothing does. `base` is the error without any."""
    gains = [(line, error, how, _figure(gain(base, error))) for line, error, how in tried]
    best = max((found for *_, found in gains), default=-np.inf)
    for line, error, how, found in gains:
        if found >= _LEAST_GAIN and (found >= best - _NEARLY_DB or found >= _NEARLY * best):
            return Cure((line,), how, error, found)
    return None


def _figure(gained: float | None) -> float:
    return -float("inf") if gained is None else gained


def _left_out(cause: Cause, switch: Switch) -> str | None:
    """The line that leaves it in float."""
    if switch.role is Role.ACTIVATION:
        quoted = names([each.called for each in switch.members])
        return None if quoted is None else f"place {{ leave tensor {quoted} }}"
    quoted = names([cause.node]) if cause.node else None
    if quoted is None:
        return None
    return f"layers {quoted} {{ weights float32 }}" if switch.role is Role.WEIGHT else f"keep {quoted} in float32"


def _error(bench: Bench, switch: Switch, model: Model) -> float | None:
    """The error of the outputs with a change in place of what a switch leaves out."""
    changed = replace(bench, graph=replace(bench.graph, model=model))
    _, (error,) = changed.without([switch], lambda done, total: None)
    return error


# --- activations ------------------------------------------------------------------------------------------------------


def _by_range(bench: Bench, switch: Switch) -> Alternative | None:
    """The same type over the range that the float model's values have."""
    scheme = _scheme(switch.members[0].record)
    quoted = names([each.called for each in switch.members])
    ends = _ends(bench, switch) if scheme is not None and quoted is not None else None
    if scheme is None or ends is None:
        return None
    low, high = (float(f"{end:.4g}") for end in ends)  # as the line says it
    if not low < high:
        return None
    scale, zero = scale_zero_point(low, high, scheme)
    dtype = switch.members[0].record.parameters.scale_element
    model = bench.graph.model.copy()
    steps = add_constant(model, "qdsl.scale", np.asarray(scale, dtype))
    middle = add_constant(model, "qdsl.zero", np.asarray(zero), scheme.dtype.name)
    for node in [node for node in model.nodes() if node.name in switch.choosers]:
        before = node.inputs[2]
        kind = scheme.dtype.name
        quantized = add_node(model, "QuantizeLinear", [before, steps, middle], like=before, element_type=kind)
        after = add_node(model, "DequantizeLinear", [quantized.outputs[0], steps, middle], like=before)
        replace_input(model, node, 2, after.outputs[0])
    return Alternative(f"layers tensor {quoted} {{ range [{low:.10g}, {high:.10g}] }}", model, _ON_THESE)


def _scheme(record: QuantizedTensor) -> Scheme | None:
    """How a tensor is stored, where another range can be tried for it: 8 or 16 bits with one scale."""
    parameters = record.parameters
    dtype = DTYPES.get(parameters.element)
    one = parameters.granularity is Granularity.PER_TENSOR and (parameters.low, parameters.high) == (None, None)
    if dtype is None or not dtype.integer or dtype.bits not in (8, 16) or not one:
        return None
    symmetric = dtype.signed and (parameters.zero_point is None or not np.any(parameters.zero_point))
    return Scheme(dtype, symmetric)


def _ends(bench: Bench, switch: Switch) -> tuple[float, float] | None:
    """The lowest and highest value of the float model's tensors, on all samples."""
    twin = fixed(replace(bench.graph, model=exposing(bench.graph.model, _inner(bench, switch))), (), on=False)
    low, high = np.inf, -np.inf
    with loaded(twin) as variants:
        for arrays in bench.samples:
            values = variants.run(arrays, ())
            for member in switch.members:
                found = values[member.before] if member.before in values else arrays[member.before]
                low, high = min(low, float(found.min(initial=0))), max(high, float(found.max(initial=0)))
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def _inner(bench: Bench, switch: Switch) -> list[str]:
    """The tensors of a switch that are no graph inputs."""
    inputs = {tensor.name for tensor in bench.graph.model.graph.inputs}
    return [each.before for each in switch.members if each.before not in inputs]


# --- weights ----------------------------------------------------------------------------------------------------------


def _by_channel(bench: Bench, switch: Switch) -> Alternative | None:
    """The same type with a scale per output channel, for a weight with a single one."""
    member, model = switch.members[0], bench.graph.model
    scheme, axis, values = _scheme(member.record), _axis(model, member), _floats(model, member)
    node = next((name for name, _ in member.readers), "")
    quoted = names([node]) if node else None
    if switch.role is not Role.WEIGHT or scheme is None or axis is None or values is None or quoted is None:
        return None
    per_channel = replace(scheme, symmetric=True, granularity=Granularity.PER_CHANNEL)
    parameters = weight_parameters(values, per_channel, axis)
    rounded = dequantize(quantize_weight(values, per_channel, parameters).values, parameters)
    made = model.copy()
    constant = add_constant(made, f"{member.before}.per_channel", rounded.astype(values.dtype))
    for chooser in [node for node in made.nodes() if node.name in switch.choosers]:
        replace_input(made, chooser, 2, constant)
    line = f"layers {quoted} {{ weights {scheme.dtype.name} symmetric per_channel }}"
    return Alternative(line, made)


def _axis(model: Model, member: Member) -> int | None:
    """The axis of output channels of a weight; None where its reader has none that is known, or a single channel."""
    by_name = {node.name: node for node in model.nodes()}
    for name, port in member.readers:
        node = by_name.get(name)
        if node is None or port != 1 or node.domain:
            continue
        if node.op == "Gemm":
            return 0 if node.attrs.get("transB", 0) else 1
        if node.op in _CHANNELS:
            return _CHANNELS[node.op]
        if node.op == "MatMul":
            shape = getattr(node.inputs[1], "shape", None)
            return len(shape) - 1 if shape is not None and len(shape) > 1 else None
    return None


def _floats(model: Model, member: Member) -> NDArray[Any] | None:
    """The float values of a weight; None where they are computed or of a type that numpy lacks."""
    try:
        values = model.values(member.before)
    except KeyError:
        return None
    return values if values.dtype.kind == "f" and values.ndim > 1 and np.isfinite(values).all() else None
