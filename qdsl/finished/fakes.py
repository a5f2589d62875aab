"""Nodes that round floats to a grid without ever writing integers: QONNX, FakeQuantize, and PACT as it is exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from qdsl.finished.flow import readers_of
from qdsl.finished.parameters import keyed
from qdsl.finished.records import Form, Parameters, QuantizedTensor, Role
from qdsl.finished.work import Work
from qdsl.graph.constants import Array
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity

_WIDTHS = (2, 4, 8, 16, 32)
_FLOATS = {"float8e4m3": "float8e4m3fn"}  # as ONNX calls it
# Of AIMET, whose encodings stand in a file beside the model; of Quark and ModelOpt, in blocks by their own range.
_ELSEWHERE = {
    **dict.fromkeys(("QcQuantizeOp", "BFPQuantizeDequantize", "MXQuantizeDequantize"), "unknown"),
    "TRT_FP4QDQ": "float4e2m1",
}
_ROUNDS = ("Round", "Floor", "Ceil")
_SCALES = ("Mul", "Div")


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that are left: (integer - zero) x scale, integers from `low` to `high`; None for what is computed."""

    scale: Array | None
    zero: Array | None
    low: int | None
    high: int | None
    signed: bool = True
    element: str = ""


def read_fakes(work: Work) -> None:
    """Every node that rounds floats to a grid."""
    for node in work.view.nodes:
        find = GRIDS.get(node.op)
        if find is not None and node.domain:
            grid = find(work, node)
            if grid is not None:
                _add(work, node, node.inputs[0], node.outputs[0], grid)
        elif node.op in _ROUNDS and not node.domain:
            _rounded(work, node)


def _add(work: Work, node: NodeView, tensor: str, written: str, grid: Grid) -> None:
    constant = tensor in work.fixed
    made = _parameters(work, grid)
    unread = made.scale is None or grid.zero is None
    work.add(
        node.index,
        QuantizedTensor(
            tensor=tensor,
            role=work.role(written, made.element) if constant else Role.ACTIVATION,
            form=Form.FAKE,
            parameters=keyed(made, node.name if unread else ""),
            quantizers=(node.name,),
            readers=tuple(readers_of(work.view, written)),
            stored=work.fixed.root(tensor) if constant else "",
            origin=work.origin(node.name),
        ),
    )


def _parameters(work: Work, grid: Grid) -> Parameters:
    scale, axis = grid.scale if grid.scale is not None and grid.scale.size else None, None
    if scale is not None and scale.size > 1:
        wide = [at for at, dim in enumerate(scale.shape) if dim > 1]
        axis = wide[0] if len(wide) == 1 else None
        scale = scale.reshape(-1) if len(wide) == 1 else scale
    elif scale is not None:
        scale = scale.reshape(())
    element = grid.element or _element(grid)
    low, high = (grid.low, grid.high) if element.startswith(("int", "uint")) else (None, None)
    return Parameters(
        element=element,
        scale_element="float32" if scale is None else str(scale.dtype),
        granularity=Granularity.PER_TENSOR if scale is None or scale.size == 1 else Granularity.PER_CHANNEL,
        scale=scale,
        zero_point=None if grid.zero is None else grid.zero.reshape(()) if grid.zero.size == 1 else grid.zero,
        zero_written=True,
        key="",
        axis=axis,
        low=None if (low, high) == _bounds(element) else low,
        high=None if (low, high) == _bounds(element) else high,
    )


def _element(grid: Grid) -> str:
    """The smallest type of ONNX that holds the integers."""
    if grid.low is None or grid.high is None:
        return "int8" if grid.signed else "uint8"
    kind = "int" if grid.signed or grid.low < 0 else "uint"
    for width in _WIDTHS:
        low, high = _bounds(f"{kind}{width}")
        if low <= grid.low and grid.high <= high:
            return f"{kind}{width}"
    return f"{kind}32"


def _bounds(element: str) -> tuple[int, int]:
    signed = element.startswith("int")
    bits = element.removeprefix("int" if signed else "uint")
    if not bits.isdigit():
        return 0, 0
    half = 1 << (int(bits) - 1)
    return (-half, half - 1) if signed else (0, 2 * half - 1)


# --- of QONNX, as Brevitas writes them -----------------------------------------------------------------------------


def _quant(work: Work, node: NodeView) -> Grid | None:
    """Quant(x, scale, zero point, bit width)."""
    if len(node.inputs) < 4:
        return None
    return _of_width(work, node, 3)


def _trunc(work: Work, node: NodeView) -> Grid | None:
    """Trunc(x, scale, zero point, bits before, bits after, ..)."""
    if len(node.inputs) < 5:
        return None
    return _of_width(work, node, 4)


def _of_width(work: Work, node: NodeView, port: int) -> Grid:
    signed, narrow = bool(node.attrs.get("signed", 1)), bool(node.attrs.get("narrow", 0))
    scale, zero = work.fixed.value(node.inputs[1]), work.fixed.value(node.inputs[2])
    bits = _one(work.fixed.value(node.inputs[port]))
    if bits is None or not 1 <= bits <= 32 or bits != round(bits):
        return Grid(scale, zero, None, None, signed)
    half = 1 << (round(bits) - 1)
    low, high = (-half + narrow, half - 1) if signed else (0, 2 * half - 1 - narrow)
    return Grid(scale, zero, low, high, signed)


def _bipolar(work: Work, node: NodeView) -> Grid | None:
    """BipolarQuant(x, scale): the scale or its negative, no 0."""
    if len(node.inputs) < 2:
        return None
    return Grid(work.fixed.value(node.inputs[1]), np.zeros(()), -1, 1)


def _float_quant(work: Work, node: NodeView) -> Grid | None:
    """FloatQuant(x, scale, exponent bits, mantissa bits, ..)."""
    if len(node.inputs) < 4:
        return None
    bits = [_one(work.fixed.value(name)) for name in node.inputs[2:4]]
    sizes = [round(each) for each in bits if each is not None]
    if len(sizes) < 2:
        return Grid(None, None, None, None, element="float8e4m3fn")
    name = f"float{sum(sizes) + 1}e{sizes[0]}m{sizes[1]}"
    return Grid(work.fixed.value(node.inputs[1]), np.zeros(()), None, None, element=_FLOATS.get(name, name))


# --- of others ------------------------------------------------------------------------------------------------------


def _fake_quantize(work: Work, node: NodeView) -> Grid | None:
    """FakeQuantize(x, low, high, low, high) with so many levels, as OpenVINO writes it."""
    levels = node.attrs.get("levels", 256)
    if len(node.inputs) < 5 or not isinstance(levels, int) or not 2 <= levels <= 2**32:
        return None
    low, high = work.fixed.value(node.inputs[3]), work.fixed.value(node.inputs[4])
    if low is None or high is None or 0 in (low.size, high.size) or (low.shape != high.shape and low.size != 1):
        return Grid(None, None, 0, levels - 1, signed=False)
    with np.errstate(all="ignore"):
        scale = (np.asarray(high, np.float64) - low) / (levels - 1)
        zero = np.rint(-np.asarray(low, np.float64) / scale)
    signed = bool(np.any(np.asarray(low) < 0))
    shift = (levels + 1) // 2 if signed else 0
    return Grid(scale.astype(np.float32), zero - shift, -shift, levels - 1 - shift, signed)


def _fake_quant(work: Work, node: NodeView) -> Grid | None:
    """FakeQuant(x, scale, zero point) between two integers, as the runtime trains it."""
    low, high = node.attrs.get("quant_min", -128), node.attrs.get("quant_max", 127)
    if len(node.inputs) < 3 or not isinstance(low, int) or not isinstance(high, int):
        return None
    return Grid(work.fixed.value(node.inputs[1]), work.fixed.value(node.inputs[2]), low, high, low < 0)


def _elsewhere(work: Work, node: NodeView) -> Grid:
    """An operator whose scales are no tensors of the file: kept beside it, or found while it runs."""
    return Grid(None, None, None, None, element=_ELSEWHERE[node.op])


def _one(value: Array | None) -> float | None:
    if value is None or value.size != 1 or value.dtype.kind not in "iuf":
        return None
    found = float(value.reshape(()).item())
    return found if isfinite(found) and abs(found) < 2**31 else None


GRIDS: dict[str, Callable[[Work, NodeView], Grid | None]] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "Trunc": _trunc,
    "BipolarQuant": _bipolar,
    "FloatQuant": _float_quant,
    "FakeQuantize": _fake_quantize,
    "FakeQuant": _fake_quant,
    **dict.fromkeys(_ELSEWHERE, _elsewhere),
}


# --- as plain operators -----------------------------------------------------------------------------------------------


def _rounded(work: Work, node: NodeView) -> None:
    """Rounding between a division by a constant and a multiplication by the same: a grid, as PACT and other trained
    quantizers are exported. A Clip may stand on either side of the rounding."""
    if node.op == "Ceil":
        return
    before = work.view.producer(node.inputs[0])
    low = high = None
    ahead = None if before is None or before.op != "Clip" else before
    if ahead is not None:
        low, high = _clip(work, ahead)
        before = work.view.producer(ahead.inputs[0])
    first = _step(work, before)
    after = _only(work, node.outputs[0])
    if after is not None and after.op == "Clip":
        low, high = _clip(work, after)
        after = _only(work, after.outputs[0])
    second = _step(work, after)
    if before is None or after is None or first is None or second is None:
        return
    (tensor, factor), (_, back) = first, second
    step = back if after.op == "Mul" else 1 / back
    inverse = factor if before.op == "Div" else 1 / factor
    if step.size != inverse.size or not np.allclose(step.reshape(-1), inverse.reshape(-1), rtol=1e-3, atol=0):
        return
    above = work.view.producer(tensor)
    if low is None and above is not None and above.op == "Clip":
        low, high = _clip(work, above, step)
    _add(work, node, tensor, after.outputs[0], Grid(step.astype(np.float32), np.zeros(()), low, high, low != 0))


def _only(work: Work, tensor: str) -> NodeView | None:
    found = work.view.consumers(tensor)
    return found[0] if len(found) == 1 else None


def _step(work: Work, node: NodeView | None) -> tuple[str, Array] | None:
    """What a Mul or a Div reads beside its constant, and that constant."""
    if node is None or node.op not in _SCALES or node.domain or len(node.inputs) != 2:
        return None
    ports = (0, 1) if node.inputs[1] in work.fixed else (1, 0)
    value = work.fixed.value(node.inputs[ports[1]])
    if value is None or (node.op == "Div" and ports[1] != 1) or value.dtype.kind != "f":
        return None
    positive = bool(np.all(np.isfinite(value) & (value > 0))) and value.size > 0
    return (node.inputs[ports[0]], np.asarray(value, np.float64)) if positive else None


def _clip(work: Work, node: NodeView, step: Array | None = None) -> tuple[int | None, int | None]:
    """The bounds of a Clip in integers, or in values where `step` says what one integer is."""
    names = [node.inputs[port] if len(node.inputs) > port else "" for port in (1, 2)]
    given = [node.attrs.get(name) for name in ("min", "max")]
    found: list[int | None] = []
    for name, attr in zip(names, given, strict=True):
        value = _one(work.fixed.value(name)) if name else attr if isinstance(attr, int | float) else None
        unit = 1.0 if step is None else float(step.reshape(-1)[0])
        scaled = None if value is None else value / unit
        found.append(None if scaled is None or not abs(scaled) < 2**31 else round(scaled))
    return found[0], found[1]
