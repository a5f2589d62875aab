"""More of the table of `tensorrt_files.py`: floats of 16, 8 and 4 bits, scales that are no constants, shapes without a
fast kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from audit_layers import normal, stored
from audit_tools import File
from onnx import ModelProto, TensorProto, helper
from tensorrt_files import DROPPED, INT8, UNKNOWN, WARNING, WEIGHT_ONLY, Case, int8

from qdsl.diag import Severity

NOTE = Severity.NOTE
HALF, FULL = np.float16, np.float32
_Floats = type[np.float16] | type[np.float32]
_EIGHT, _FOUR = "FLOAT8E4M3FN", "FLOAT4E2M1"
_DIES = "undecided"  # the process of TensorRT-RTX dies


def _typed(model: ModelProto, *, given: int = TensorProto.FLOAT, shape: tuple[int, ...] = (), output: int = 0) -> Any:
    """The model with an input of that type and shape, and an output of that type."""
    told = shape or tuple(each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", given, told))
    if output:
        model.graph.output[0].type.tensor_type.elem_type = output
    model.ir_version = 11
    return model


# --- scales and integers that are no constants of the file ------------------------------------------------------------


def scaled_by(scale: str) -> ModelProto:
    """A scale that is a graph input, computed while the model runs, computed of constants, or a Constant node."""
    file = int8()
    zero = file.constant("z", np.int8(0))
    if scale == "run":
        largest = file.node("ReduceMax", file.node("Abs", "x", name="abs"), name="largest", keepdims=0)
        file.node("Mul", largest, file.constant("k", np.float32(1 / 127)), name="s")
    elif scale == "constants":
        file.node("Mul", file.constant("a", np.float32(0.5)), file.constant("b", np.float32(0.1)), name="s")
    elif scale == "node":
        file.node("Constant", name="s", value_float=0.05)
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", "s", zero, name="q"), "s", zero, name="dq")
    model = _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)
    if scale == "input":
        model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    return model


def weight_of_given_scale() -> ModelProto:
    file = int8()
    file.constant("w", normal(8, 4, 1, 1))
    weight = file.node("DequantizeLinear", "w", "w_s", file.constant("w_z", np.int8(0)), name="w_dq")
    model = file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="product")))
    model.graph.input.append(helper.make_tensor_value_info("w_s", TensorProto.FLOAT, []))
    return model


def stored_behind(op: str) -> ModelProto:
    """A stored weight that `op` moves before it is dequantized, or ("Cast") makes int8 of floats."""
    file = int8(opset=21)
    codes = normal(4, 8, 1, 1) if op == "Transpose" else normal(8, 4, 1, 1)
    held = file.constant("w", codes.astype(np.float32 if op == "Cast" else np.int8))
    if op == "Clip":
        held = file.node("Clip", held, file.constant("l", np.int8(-127)), file.constant("h", np.int8(127)), name="move")
    elif op == "Transpose":
        held = file.node("Transpose", held, name="move", perm=[1, 0, 2, 3])
    elif op == "Cast":
        held = file.node("Cast", held, name="move", to=TensorProto.INT8)
    else:
        held = file.node(op, held, name="move")
    return _dequantized_weight(file, held)


def _dequantized_weight(file: File, held: str, behind: Callable[[str], str] = str) -> ModelProto:
    names = [file.constant("w_s", np.float32(0.01)), file.constant("w_z", np.int8(0))]
    weight = behind(file.node("DequantizeLinear", held, *names, name="w_dq"))
    return file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="product")))


def moved_behind() -> ModelProto:
    """A Transpose behind the DequantizeLinear of a stored weight."""
    file = int8()
    held = file.constant("w", normal(4, 8, 1, 1))
    return _dequantized_weight(file, held, lambda read: file.node("Transpose", read, name="move", perm=[1, 0, 2, 3]))


def passed_through(op: str, *bounds: int) -> ModelProto:
    """A Relu, a pool or a Clip on integers between a QuantizeLinear and its DequantizeLinear."""
    file = int8(opset=21)
    names = [file.constant("s", np.float32(0.05)), file.constant("z", np.int8(0))]
    limits = [file.constant(f"bound{at}", np.int8(at)) for at in bounds]
    attributes = {"kernel_shape": [2, 2]} if op == "MaxPool" else {}
    held = file.node(op, file.node("QuantizeLinear", "x", *names, name="q"), *limits, name="move", **attributes)
    return _product(file, "Conv", file.node("DequantizeLinear", held, *names, name="dq"), normal(8, 4, 1, 1), 0.01)


def read_by(op: str) -> ModelProto:
    """Stored integers that are the fill of a Pad of integers, a part of a Concat of them, or what a Gather or a Cast
    reads; "Pad" has a fill of its own, "bare Pad" none."""
    file = int8(opset=21)
    names = [file.constant("s", np.float32(0.05)), file.constant("z", np.int8(0))]
    held = file.node("QuantizeLinear", "x", *names, name="q")
    channels = 4
    if op.endswith("Pad"):
        more = [file.constant("fill", np.int8(0))] if op == "Pad" else []
        held = file.node("Pad", held, file.constant("pads", np.int64([0, 0, 1, 1, 0, 0, 1, 1])), *more, name="move")
    elif op == "Concat":
        held, channels = file.node("Concat", held, file.constant("k", normal(1, 4, 8, 8)), name="move", axis=1), 8
    read = file.node("DequantizeLinear", held, *names, name="dq")
    codes = file.constant("k", normal(8, 4, 1, 1)) if op in ("Cast", "Gather") else ""
    if op == "Cast":  # a DequantizeLinear by hand
        weight = file.node("Mul", file.node("Cast", codes, name="move", to=TensorProto.FLOAT), "s", name="w")
        return file.give(file.pair(file.node("Conv", read, weight, name="product")))
    if op == "Gather":
        taken = file.node("Gather", codes, file.constant("rows", np.int64([0, 2, 4])), name="move")
        weight = file.node("DequantizeLinear", taken, *names, name="w_dq")
        return file.give(file.pair(file.node("Conv", read, weight, name="product")))
    return _product(file, "Conv", read, normal(8, channels, 1, 1), 0.01)


def multiplied(shape: tuple[int, ...], *, pair: bool = False) -> ModelProto:
    """x behind a pair, times a stored number of that shape, or (`pair`) a float one in a pair; a Conv behind it."""
    file = int8()
    names = [file.constant("k_s", np.float32(0.01)), file.constant("k_z", np.int8(0))]
    held = file.constant("k", np.full(shape, 0.5 if pair else 50, np.float32 if pair else np.int8))
    held = file.node("QuantizeLinear", held, *names, name="k_q") if pair else held
    by = file.node("DequantizeLinear", held, *names, name="k_dq")
    read = file.pair(file.node("Mul", file.pair("x"), by, name="times"))
    return _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)


def vector_of_one(*nodes: str) -> ModelProto:
    """A scale that is a vector of one element, at the QuantizeLinear ("q"), the DequantizeLinear ("dq"), the weight."""
    file = int8()
    for name, value in (("s", np.float32(0.05)), ("z", np.int8(0))):
        file.constant(name, value)
        file.constant(f"{name}_1", np.asarray([value]))
    names = {node: ["s_1", "z_1"] if node in nodes else ["s", "z"] for node in ("q", "dq", "w")}
    held = file.node("QuantizeLinear", "x", *names["q"], name="q")
    read = file.node("DequantizeLinear", held, *names["dq"], name="dq")
    weight = file.node("DequantizeLinear", file.constant("w", normal(8, 4, 1, 1)), *names["w"], name="w_dq")
    return file.give(file.pair(file.node("Conv", read, weight, name="product")))


def no_dimensions(kept: int) -> ModelProto:
    file = int8()
    return file.give(file.pair(file.node("ReduceMean", file.pair("x"), name="mean", keepdims=kept)))


def _product(file: File, op: str, read: str, codes: Any, scale: Any, **attributes: Any) -> ModelProto:
    axis = attributes.pop("axis", None)
    weight = stored(file, "w", codes, scale, axis=axis)
    return file.give(file.pair(file.node(op, read, weight, name="product", **attributes)))


_MOVED = "is only allowed before DQ"
CONSTANTS: dict[str, Case] = {
    **{
        f"scale, {name}": Case(lambda scale=name: scaled_by(scale), "scale_computed", stage=_DIES)
        for name in ("input", "run")
    },
    **{
        f"scale, {name}": Case(lambda scale=name: scaled_by(scale), "", computes=INT8) for name in ("constants", "node")
    },
    "scale of a weight, input": Case(weight_of_given_scale, "scale_computed", stage=_DIES),
    **{
        f"stored, {op}": Case(lambda op=op: stored_behind(op), "stored_integers_moved", stage="build", says=_MOVED)
        for op in ("Clip", "Transpose", "Identity")
    },
    **{
        f"stored, {name}": Case(lambda op=op: read_by(op), "stored_integers_moved", stage="build", says=_MOVED)
        for name, op in (("Cast", "Cast"), ("Gather", "Gather"), ("Concat", "Concat"), ("fill of a Pad", "Pad"))
    },
    "passed, Pad": Case(lambda: read_by("bare Pad"), "", computes=INT8),
    "stored number": Case(lambda: multiplied(()), "scalar_quantized", stage="build", says=_MOVED),
    "stored vector of one": Case(lambda: multiplied((1,)), "", computes=INT8),
    "scale as a vector": Case(lambda: vector_of_one("q", "dq"), "scale_as_vector", WARNING, computes=DROPPED),
    "scale of a DequantizeLinear as a vector": Case(
        lambda: vector_of_one("dq"), "scale_as_vector", WARNING, computes=DROPPED
    ),
    "scale of a QuantizeLinear as a vector": Case(lambda: vector_of_one("q"), "", computes=INT8),
    "scale of a weight as a vector": Case(lambda: vector_of_one("w"), "", computes=INT8),
    "stored, Cast of floats": Case(lambda: stored_behind("Cast"), "", computes=INT8),
    "stored, Transpose behind": Case(moved_behind, "", computes=INT8),
    "passed, Relu": Case(lambda: passed_through("Relu"), "", computes=INT8),
    "passed, MaxPool": Case(lambda: passed_through("MaxPool"), "", computes=INT8),
    "passed, Clip": Case(lambda: passed_through("Clip", -127, 127), "", computes=INT8),
    "no dimensions": Case(lambda: no_dimensions(0), "scalar_quantized", WARNING),
    "one element": Case(lambda: no_dimensions(1), ""),
}

# --- float16 ----------------------------------------------------------------------------------------------------------


def halves(
    data: _Floats, scale: _Floats, weight: _Floats, bias: _Floats | None, *, cast: bool = False, opset: int = 19
) -> ModelProto:
    """x of `data` -> pair with a `scale` -> Conv with a weight of such a scale and such a bias; with `cast`, float16
    behind both DequantizeLinear nodes."""
    file = int8(opset=opset)
    zero, codes = file.constant("z", np.int8(0)), file.constant("w", normal(8, 4, 1, 1))
    steps = [file.constant("s", scale(0.05)), zero]
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", *steps, name="q"), *steps, name="dq")
    held = file.node("DequantizeLinear", codes, file.constant("w_s", weight(0.01)), zero, name="w_dq")
    if cast:
        read, held = (file.node("Cast", name, name=f"{name}_half", to=TensorProto.FLOAT16) for name in (read, held))
    more = [] if bias is None else [file.constant("b", np.ones(8, bias))]
    model = file.give(file.node("Conv", read, held, *more, name="product"))
    half, full = TensorProto.FLOAT16, TensorProto.FLOAT
    output = half if cast or scale is HALF else full
    return _typed(model, given=half if data is HALF else full, output=output)


def half_and_full(op: str, **attributes: Any) -> ModelProto:
    """x and x as float16."""
    file = int8(opset=19)
    return file.give(file.node(op, "x", file.node("Cast", "x", name="half", to=10), name="y", **attributes))


_TYPES_DIFFER = "must be of same type"
HALVES: dict[str, Case] = {
    "float16 throughout": Case(lambda: halves(HALF, HALF, HALF, HALF), "", computes=INT8),
    "float16 throughout, opset 17": Case(
        lambda: halves(HALF, HALF, HALF, HALF, opset=17), "type_above_opset", computes=INT8
    ),
    "float16 scales on float32": Case(lambda: halves(FULL, HALF, HALF, HALF), "", computes=INT8),
    "float32 scales, Casts": Case(lambda: halves(HALF, FULL, FULL, HALF, cast=True), "", computes=INT8),
    "float32 scales on float16": Case(lambda: halves(HALF, FULL, FULL, FULL), "scales_wider", WARNING, computes=INT8),
    "float32 scales, float16 bias": Case(
        lambda: halves(HALF, FULL, FULL, HALF), "float_types_differ", stage="parse", says=_TYPES_DIFFER
    ),
    "float32 scale of a weight": Case(
        lambda: halves(HALF, HALF, FULL, HALF), "float_types_differ", stage="parse", says=_TYPES_DIFFER
    ),
    "float32 scale of an activation": Case(
        lambda: halves(HALF, FULL, HALF, HALF), "float_types_differ", stage="parse", says=_TYPES_DIFFER
    ),
    **{
        f"{op} of float32 and float16": Case(
            lambda op=op: half_and_full(op, **({"axis": 1} if op == "Concat" else {})),
            "float_types_differ",
            stage="parse",
            says="same",
        )
        for op in ("Add", "Mul", "Div", "Max", "Sum", "Concat", "MatMul")
    },
    "Pow of float32 and float16": Case(lambda: half_and_full("Pow"), ""),
}

# --- floats of 8 and 4 bits -------------------------------------------------------------------------------------------


def narrow(
    op: str,
    element: str,
    shape: tuple[int, ...] = (),
    *,
    data: str = _EIGHT,
    kernel: int = 3,
    pooled: bool = False,
    **along: int,
) -> ModelProto:
    """A product with weights of `element`, its scale of that shape; `data` is the type of the pair before it, behind
    which a MaxPool stands (`pooled`)."""
    file = int8(opset=23)
    scale, eight = file.constant("s", np.float32(0.1)), data == _EIGHT
    read = "x"
    if eight:
        read = file.node("QuantizeLinear", "x", scale, "z", name="q")
        read = file.node("DequantizeLinear", read, scale, "z", name="dq")
    elif data:
        read = file.pair("x")
    read = file.node("MaxPool", read, name="pool", kernel_shape=[2, 2]) if pooled else read
    steps = file.constant("w_s", np.full(shape, 0.1, np.float32))
    model = file.give(
        file.node(op, read, file.node("DequantizeLinear", "w", steps, name="w_dq", **along), name="product")
    )
    kind, dims = getattr(TensorProto, element), (32, 32, kernel, kernel) if op == "Conv" else (64, 64)
    values = np.resize([0.5, 1, 2, -1], int(np.prod(dims))).tolist()
    model.graph.initializer.append(helper.make_tensor("w", kind, dims, values))
    if eight:
        model.graph.initializer.append(helper.make_tensor("z", getattr(TensorProto, _EIGHT), [], [0]))
    return _typed(model, shape=(1, 32, 16, 16) if op == "Conv" else (4, 64))


def scales_of_powers() -> ModelProto:
    """float8 weights in blocks of 32, with scales of E8M0."""
    model = narrow("MatMul", _EIGHT, (2, 64), data="", axis=0, block_size=32)
    steps = next(each for each in model.graph.initializer if each.name == "w_s")
    steps.CopyFrom(helper.make_tensor("w_s", TensorProto.FLOAT8E8M0, (2, 64), [1.0] * 128))
    model.opset_import[0].version = 24
    return model


def both() -> ModelProto:
    """A Conv in int8, and one in float8 behind it."""
    file = int8(opset=21)
    scale = file.constant("s", np.float32(0.1))
    held = file.node("QuantizeLinear", file.conv(file.pair("x"), name="first"), scale, "z", name="q")
    read = file.node("DequantizeLinear", held, scale, "z", name="dq")
    model = file.give(
        file.node("Conv", read, file.node("DequantizeLinear", "w", scale, "z", name="w_dq"), name="second")
    )
    kind = getattr(TensorProto, _EIGHT)
    model.graph.initializer.append(helper.make_tensor("z", kind, [], [0]))
    model.graph.initializer.append(helper.make_tensor("w", kind, [4, 4, 1, 1], [1.0] * 16))
    return _typed(model)


def passed_as(element: str) -> ModelProto:
    """An activation of that type."""
    file = int8(opset=19)
    scale = file.constant("s", np.float32(0.1))
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", scale, "z", name="q"), scale, "z", name="dq")
    model = _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)
    model.graph.initializer.append(helper.make_tensor("z", getattr(TensorProto, element), [], [0]))
    return model


def _narrow(op: str, element: str, rule: str, severity: Severity, *shape: int, on: str, **more: Any) -> Case:
    said = {name: more.pop(name) for name in ("stage", "says", "computes") if name in more}
    return Case(lambda: narrow(op, element, shape, **more), rule, severity, capability=on, **said)


_HARDWARE = "HW-specific datatypes: "
_NEW, _NO_KERNEL = "newer_gpu_needed", "narrow_floats_without_kernel"
NARROW: dict[str, Case] = {
    "float8, one scale": _narrow("MatMul", _EIGHT, _NEW, NOTE, on="SM89", computes="FP8"),
    "float8, 8.6": _narrow("MatMul", _EIGHT, _NEW, NOTE, on="SM86", stage="build", says=f"{_HARDWARE}fp8_e4m3"),
    "float8 Conv": _narrow("Conv", _EIGHT, _NEW, NOTE, 32, on="SM89", axis=0, computes="FP8"),
    "float8 Conv, 5x5": _narrow("Conv", _EIGHT, _NEW, NOTE, 32, on="SM89", axis=0, kernel=5, computes="FP8"),
    "float8 Conv, 7x7": _narrow("Conv", _EIGHT, _NO_KERNEL, WARNING, 32, on="SM89", axis=0, kernel=7, computes=DROPPED),
    "float8 Conv behind a MaxPool": _narrow(
        "Conv", _EIGHT, _NO_KERNEL, WARNING, 32, on="SM89", axis=0, pooled=True, computes=DROPPED
    ),
    "float8, outputs": _narrow("MatMul", _EIGHT, _NEW, NOTE, 64, on="SM89", axis=1, computes="FP8"),
    "float8, inputs": _narrow(
        "MatMul", _EIGHT, "weights_along_inputs", WARNING, 64, on="SM89", axis=0, computes=UNKNOWN
    ),
    "float8 weights alone": _narrow("MatMul", _EIGHT, _NEW, NOTE, on="SM89", data="", computes=WEIGHT_ONLY),
    "float8 in blocks": _narrow(
        "MatMul", _EIGHT, _NO_KERNEL, WARNING, 2, 64, on="SM120", data="", axis=0, block_size=32, computes=DROPPED
    ),
    "float8 beside int8 in one product": _narrow(
        "Conv", _EIGHT, _NO_KERNEL, Severity.ERROR, on="SM89", data="INT8", stage="build", says="dtype == W.type()"
    ),
    "float8 with scales of E8M0": Case(
        scales_of_powers, "unsupported_type", capability="SM120", stage="parse", says="Failed to import initializer"
    ),
    "float8 beside int8": Case(both, "float8_beside_int8", WARNING, capability="SM89", computes=f"{INT8} FP8"),
    "float8 E5M2 activation": Case(
        lambda: passed_as("FLOAT8E5M2"), "unsupported_type", stage="parse", says="Failed to import initializer"
    ),
    "float4": _narrow(
        "MatMul", _FOUR, _NO_KERNEL, NOTE, 4, 64, on="SM120", data="", axis=0, block_size=16, computes=DROPPED
    ),
    "float4, 8.9": _narrow(
        *("MatMul", _FOUR, _NEW, NOTE, 4, 64),
        on="SM89",
        data="",
        axis=0,
        block_size=16,
        stage="build",
        says=f"{_HARDWARE}fp4_e2m1",
    ),
    "float4 in blocks of 32": _narrow(
        "MatMul", _FOUR, _NO_KERNEL, WARNING, 2, 64, on="SM120", data="", axis=0, block_size=32, computes=DROPPED
    ),
}

# --- shapes -----------------------------------------------------------------------------------------------------------


def shaped(inside: int, outside: int, kernel: tuple[int, int], *, group: int = 1, first: bool = True) -> ModelProto:
    """A Conv of that shape, of the graph's input or behind a Relu."""
    file = int8()
    read = file.pair("x" if first else file.node("Relu", "x", name="before"))
    made = _product(file, "Conv", read, normal(outside, inside // group, *kernel), 0.01, group=group)
    return _typed(made, shape=(1, inside, 16, 16))


def matrix(rows: int, inside: int, outside: int) -> ModelProto:
    file = int8()
    return _typed(_product(file, "MatMul", file.pair("x"), normal(inside, outside), 0.01), shape=(rows, inside))


def deconvolution(scale: Any, axis: int | None) -> ModelProto:
    file = int8()
    return _product(file, "ConvTranspose", file.pair("x"), normal(4, 8, 2, 2), scale, axis=axis, strides=[2, 2])


def group_norm(*, whole: bool) -> ModelProto:
    """Two Convs, and a GroupNorm between them: one node, or as exporters write it."""
    file = int8(opset=21)
    given = [file.constant(name, np.full(16, at, np.float32)) for name, at in (("ones", 1), ("zeros", 0))]
    weights = [stored(file, name, normal(16, 16, 1, 1), 0.01) for name in ("w1", "w2")]
    inner = file.node("Conv", file.pair("x"), weights[0], name="before")
    if whole:
        normed = file.node("GroupNormalization", inner, *given, name="norm", num_groups=2)
    else:
        flat = file.node("Reshape", inner, file.constant("flat", np.int64([0, 2, -1])), name="split")
        halved = [file.constant(name, np.full(2, at, np.float32)) for name, at in (("one", 1), ("zero", 0))]
        normed = file.node("InstanceNormalization", flat, *halved, name="norm")
        normed = file.node("Reshape", normed, file.constant("back", np.int64([1, 16, 8, 8])), name="join")
    model = file.give(file.node("Conv", file.pair(normed), weights[1], name="behind"))
    return _typed(model, shape=(1, 16, 8, 8))


def _slow(make: Callable[[], ModelProto], computes: str = INT8) -> Case:
    return Case(make, "slow_kernel", NOTE, computes=computes)


def _fast(make: Callable[[], ModelProto], computes: str = INT8) -> Case:
    return Case(make, "", computes=computes)


SHAPES: dict[str, Case] = {
    "stem": _slow(lambda: shaped(3, 16, (7, 7))),
    "stem of 3": _fast(lambda: shaped(3, 16, (3, 3))),
    "few channels": _slow(lambda: shaped(8, 8, (1, 1), first=False)),
    "few channels, first layer": _fast(lambda: shaped(8, 8, (1, 1))),
    "few channels, one side wide": _fast(lambda: shaped(8, 32, (3, 3), first=False)),
    "few channels, oblong kernel": _slow(lambda: shaped(8, 32, (1, 3), first=False)),
    "odd channels": _slow(lambda: shaped(5, 7, (3, 3))),
    "channels": _fast(lambda: shaped(16, 16, (3, 3), first=False)),
    "depthwise": _slow(lambda: shaped(16, 16, (3, 3), group=16)),
    "groups": _fast(lambda: shaped(32, 32, (3, 3), group=4)),
    "groups of 1x1": _slow(lambda: shaped(32, 32, (1, 1), group=4)),
    "vector": _slow(lambda: matrix(1, 64, 64)),
    "matrix": _fast(lambda: matrix(8, 64, 64)),
    "narrow matrix": _slow(lambda: matrix(8, 64, 8)),
    "GroupNorm in pieces": _slow(lambda: group_norm(whole=False), f"{INT8} {INT8}"),
    "GroupNorm": _fast(lambda: group_norm(whole=True), f"{INT8} {INT8}"),
    "ConvTranspose": Case(lambda: deconvolution(0.01, None), "deconvolution_quantized", NOTE, computes=DROPPED),
    **{
        f"ConvTranspose, axis {axis}": Case(
            lambda count=count, axis=axis: deconvolution(np.linspace(0.01, 0.02, count), axis),
            "deconvolution_quantized",
            WARNING,
            computes=DROPPED,
        )
        for axis, count in ((0, 4), (1, 8))
    },
}

MORE: dict[str, Case] = {**CONSTANTS, **HALVES, **NARROW, **SHAPES}
