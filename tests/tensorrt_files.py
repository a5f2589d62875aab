"""Small files, what the audit has to say of each about TensorRT, and what TensorRT-RTX answers: one table, held against
the rules by `test_audit_tensorrt_files.py` and against the parser and the builder by `test_rtx.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from audit_layers import conv, normal, stored
from audit_tools import File
from onnx import ModelProto, TensorProto, helper

from qdsl.diag import Severity

ERROR, WARNING = Severity.ERROR, Severity.WARNING
INT8, DROPPED, WEIGHT_ONLY, UNKNOWN = "INT8", "DROPPED", "WEIGHT_ONLY", "UNKNOWN"
_CHANNELS = np.linspace(0.005, 0.02, 8)


@dataclass(frozen=True)
class Case:
    """A file. `rule` is what the audit tells of it, "" where nothing is. TensorRT-RTX 1.7.1: `stage` is where it ends
    ("parse" and "build": refused; "undecided": its process dies) on a GPU of that compute capability, `says` a part of
    its words, `computes` the verdicts on the nodes that multiply."""

    make: Callable[[], ModelProto]
    rule: str
    severity: Severity = ERROR
    stage: str = "built"
    says: str = ""
    computes: str = ""
    capability: str = "SM86"


def int8(**more: Any) -> File:
    return File(kind=np.int8, **more)


# --- what stands between a DequantizeLinear and a Conv ----------------------------------------------------------------

_MOVES: dict[str, Callable[[File, str, str], str]] = {
    "Identity": lambda file, read, name: file.node("Identity", read, name=name),
    "MaxPool": lambda file, read, name: file.node("MaxPool", read, name=name, kernel_shape=[2, 2]),
    "Transpose": lambda file, read, name: file.node("Transpose", read, name=name, perm=[0, 1, 3, 2]),
    "Reshape": lambda file, read, name: file.node("Reshape", read, _ints(file, name, 1, 4, 4, 16), name=name),
    "Slice": lambda file, read, name: file.node(
        "Slice", read, *(_ints(file, f"{name}{at}", at) for at in (1, 3, 2)), name=name
    ),
    "Gather": lambda file, read, name: file.node("Gather", read, _ints(file, name, 0, 1, 2, 3), name=name, axis=1),
    "Expand": lambda file, read, name: file.node("Expand", read, _ints(file, name, 2, 4, 8, 8), name=name),
    "Tile": lambda file, read, name: file.node("Tile", read, _ints(file, name, 1, 1, 2, 2), name=name),
    "Pad": lambda file, read, name: file.node("Pad", read, _ints(file, name, 0, 0, 1, 1, 0, 0, 1, 1), name=name),
    "Pad of ones": lambda file, read, name: file.node(
        "Pad", read, _ints(file, name, 0, 0, 1, 1, 0, 0, 1, 1), _float(file, name), name=name
    ),
    "Relu": lambda file, read, name: file.node("Relu", read, name=name),
    "AveragePool": lambda file, read, name: file.node("AveragePool", read, name=name, kernel_shape=[2, 2]),
    "Resize": lambda file, read, name: file.node(
        "Resize", read, "", file.constant(f"{name}_sizes", np.float32([1, 1, 2, 2])), name=name, mode="nearest"
    ),
    "Min": lambda file, read, name: file.node("Min", read, _float(file, name), name=name),
    "Trilu": lambda file, read, name: file.node("Trilu", read, name=name),
    "Dropout": lambda file, read, name: file.node("Dropout", read, name=name),
    "Split": lambda file, read, name: file.several("Split", read, name=name, outputs=2, axis=2),
    "Squeeze": lambda file, read, name: file.node(
        "Unsqueeze", file.node("Squeeze", read, _ints(file, name, 0), name=f"{name}_0"), f"{name}_i1", name=name
    ),
    "DepthToSpace": lambda file, read, name: file.node(
        "SpaceToDepth", file.node("DepthToSpace", read, name=f"{name}_0", blocksize=2), name=name, blocksize=2
    ),
    "Mul": lambda file, read, name: file.node("Mul", _float(file, name, 2), read, name=name),
    "Div": lambda file, read, name: file.node("Div", read, _float(file, name, 2), name=name),
    "Mul of channels": lambda file, read, name: file.node(
        "Mul", read, file.constant(f"{name}_f", np.float32([1, 2, 3, 4]).reshape(1, 4, 1, 1)), name=name
    ),
    "Add of a constant": lambda file, read, name: file.node("Add", read, _float(file, name), name=name),
    "LeakyRelu": lambda file, read, name: file.node("LeakyRelu", read, name=name),
    "Clip": lambda file, read, name: file.node("Clip", read, "", _float(file, name, 6), name=name),
    "Sigmoid": lambda file, read, name: file.node("Sigmoid", read, name=name),
    "linear Resize": lambda file, read, name: file.node(
        "Resize", read, "", file.constant(f"{name}_sizes", np.float32([1, 1, 2, 2])), name=name, mode="linear"
    ),
    "Cast": lambda file, read, name: file.node(
        "Cast", file.node("Cast", read, name=f"{name}_0", to=TensorProto.FLOAT16), name=name, to=TensorProto.FLOAT
    ),
}


def _ints(file: File, name: str, *values: int) -> str:
    return file.constant(f"{name}_i{len(values)}", np.asarray(values, np.int64))


def _float(file: File, name: str, value: float = 1) -> str:
    return file.constant(f"{name}_f", np.float32(value))


def chain(*moves: str) -> ModelProto:
    """x -> pair -> `moves` -> Conv -> pair."""
    file = int8()
    read = file.pair("x")
    for number, move in enumerate(moves):
        read = _MOVES[move](file, read, f"move_{number}")
    return _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)


def joined(other: str) -> ModelProto:
    """A Concat of x behind a pair with x behind an equal pair, another pair, an equal pair and a pool, or none."""
    file = int8()
    first = file.pair("x")
    second = "x" if other == "floats" else file.pair("x", by="r", scale=0.1 if other == "another" else 0.05)
    if other == "moved":
        second = file.node("MaxPool", second, name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    read = file.node("Concat", first, second, name="join", axis=1)
    return _product(file, "Conv", read, normal(8, 8, 1, 1), 0.01)


def scaled_and_joined(one: float, other: float) -> ModelProto:
    """A Concat of x behind a pair, multiplied by one number and by another."""
    file = int8()
    read = file.pair("x")
    parts = [file.node("Mul", read, _float(file, name, by), name=name) for name, by in (("a", one), ("b", other))]
    return _product(file, "Conv", file.node("Concat", *parts, name="join", axis=1), normal(8, 8, 1, 1), 0.01)


def skipped() -> ModelProto:
    """The Conv of a residual block, added to a move of what is quantized, which it reads, too."""
    file = int8()
    skip = _MOVES["Identity"](file, file.pair("x"), "skip")
    result = file.node("Conv", skip, stored(file, "w", normal(4, 4, 1, 1), 0.01), name="product")
    return file.give(file.pair(file.node("Add", result, skip, name="sum")))


def _product(file: File, op: str, read: str, codes: Any, scale: Any, **attributes: Any) -> ModelProto:
    weight = stored(file, "w", codes, scale, axis=attributes.pop("axis", None))
    return file.give(file.pair(file.node(op, read, weight, name="product", **attributes)))


def _carried(*moves: str) -> Case:
    return Case(lambda: chain(*moves), "", computes=INT8)


def _stopped(*moves: str) -> Case:
    return Case(lambda: chain(*moves), "half_quantized_op", computes=DROPPED)


CARRYING: dict[str, Case] = {
    **{
        name: _carried(name)
        for name in (
            *(
                "Identity",
                "MaxPool",
                "Transpose",
                "Reshape",
                "Slice",
                "Gather",
                "Expand",
                "Tile",
                "Dropout",
                "Squeeze",
                "Split",
            ),
            *("DepthToSpace", "Mul", "Div"),
        )
    },
    **{
        name: _stopped(name)
        for name in (
            *("Pad of ones", "Relu", "AveragePool", "Resize", "Min", "Trilu", "Mul of channels", "Add of a constant"),
            *("LeakyRelu", "Clip", "Sigmoid", "linear Resize", "Cast"),
        )
    },
    **{
        f"{one}, {other}": _carried(one, other)
        for one, other in (("Mul", "Transpose"), ("MaxPool", "Mul"), ("Mul", "Pad"))
    },
    "Pad, Mul": _stopped("Pad", "Mul"),
    "Concat of products with one number": Case(lambda: scaled_and_joined(2, 2), "", computes=INT8),
    "Concat of products with two numbers": Case(lambda: scaled_and_joined(2, 3), "half_quantized_op", computes=DROPPED),
    "MaxPool, Transpose, Slice": _carried("MaxPool", "Transpose", "Slice"),
    "Pad": _carried("Pad"),
    "MaxPool, Transpose, Pad": _carried("MaxPool", "Transpose", "Pad"),
    "Pad, Transpose": _stopped("Pad", "Transpose"),
    "Pad, MaxPool": _stopped("Pad", "MaxPool"),
    "Concat of equal pairs": Case(lambda: joined("equal"), "", computes=INT8),
    "Concat of an equal pair that was moved": Case(lambda: joined("moved"), "", computes=INT8),
    "Concat of other scales": Case(lambda: joined("another"), "half_quantized_op", computes=DROPPED),
    "skip that moves a pair": Case(skipped, "", computes=INT8),
    "Concat with floats": Case(lambda: joined("floats"), "half_quantized_op", computes=DROPPED),
}

# --- axes -------------------------------------------------------------------------------------------------------------


def along(op: str, axis: int | None, **attributes: Any) -> ModelProto:
    """A product of as many inputs as outputs, its scales along `axis`."""
    file = int8()
    read = file.pair(file.node("Flatten", "x", name="flat", axis=3) if op == "Gemm" else "x")
    codes, scale = (normal(4, 4, 1, 1), _CHANNELS[:4]) if op == "Conv" else (normal(8, 8), _CHANNELS)
    return _product(file, op, read, codes, scale, axis=axis, **attributes)


_ASTRAY = "weights_along_inputs"
AXES: dict[str, Case] = {
    "Conv, outputs": Case(lambda: along("Conv", 0), "", computes=INT8),
    "Conv, inputs": Case(lambda: along("Conv", 1), _ASTRAY, WARNING, computes=DROPPED),
    "Conv, not written": Case(lambda: along("Conv", None), "axis_not_written", WARNING, computes=DROPPED),
    "Gemm, outputs": Case(lambda: along("Gemm", 1), "", computes=INT8),
    "Gemm, inputs": Case(lambda: along("Gemm", 0), _ASTRAY, WARNING, computes=UNKNOWN),
    "Gemm turned, outputs": Case(lambda: along("Gemm", 0, transB=1), "", computes=INT8),
    "Gemm turned, inputs": Case(lambda: along("Gemm", 1, transB=1), _ASTRAY, WARNING, computes=UNKNOWN),
    "MatMul, outputs": Case(lambda: along("MatMul", 1), "", computes=INT8),
    "MatMul, inputs": Case(lambda: along("MatMul", 0), _ASTRAY, WARNING, computes=UNKNOWN),
}

# --- 4 bits -----------------------------------------------------------------------------------------------------------

_MATRIX, _KERNEL = (64, 64), (32, 32, 3, 3)
_SCALES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "one": ((), {}),
    "channels": ((64,), {"axis": 1}),
    "rows": ((64,), {"axis": 0}),
    "blocks": ((2, 64), {"axis": 0, "block_size": 32}),
    "one block": ((1, 64), {"axis": 0, "block_size": 64}),
    "blocks of 31": ((2, 31), {"axis": 0, "block_size": 32}),
    "blocks of columns": ((64, 2), {"axis": 1, "block_size": 32}),
    "blocks cut short": ((3, 64), {"axis": 0, "block_size": 28}),
    "channels of a Conv": ((32,), {"axis": 0}),
    "blocks of a Conv": ((32, 2, 3, 3), {"axis": 1, "block_size": 16}),
}


def four_bits(
    op: str, scales: str, *, integers: bool, shape: tuple[int, int] | None = None, **attributes: Any
) -> ModelProto:
    """A product with weights of int4, of a tensor in floats or (`integers`) behind a pair."""
    file = int8(opset=21)
    sizes = shape or (_KERNEL if op == "Conv" else _MATRIX)
    scale, along = _SCALES[scales]
    file.constant("w_s", np.full(scale, 0.1, np.float32))
    weight = file.node("DequantizeLinear", "w", "w_s", name="w_dq", **along)
    result = file.node(op, file.pair("x") if integers else "x", weight, name="product", **attributes)
    model = file.give(file.pair(result) if integers else result)
    codes = np.resize(np.arange(-7, 8), int(np.prod(sizes))).tolist()
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, sizes, codes))
    return _of_shape(model, (1, 32, 16, 16) if op == "Conv" else (4, 64))


def _of_shape(model: ModelProto, shape: tuple[int, ...]) -> ModelProto:
    """The model with an input of another shape, at the version that knows 4 bits."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    model.graph.input[0].CopyFrom(given)
    model.ir_version = 10
    return model


def four_bits_passed() -> ModelProto:
    """An activation of int4."""
    file = int8(opset=21)
    file.constant("s", np.float32(0.1))
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", "s", "z", name="q"), "s", "z", name="dq")
    model = _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)
    model.graph.initializer.append(helper.make_tensor("z", TensorProto.INT4, [], [0]))
    return _of_shape(model, (1, 4, 8, 8))


def _four(op: str, scales: str, severity: Severity, *, integers: bool = False, **more: Any) -> Case:
    attributes = more.pop("attributes", {})
    make = lambda: four_bits(op, scales, integers=integers, **attributes)  # noqa: E731
    return Case(make, "four_bits_without_kernel", severity, **more)


FOUR_BITS: dict[str, Case] = {
    "matrix in blocks": Case(lambda: four_bits("MatMul", "blocks", integers=False), "", computes=WEIGHT_ONLY),
    "turned matrix in blocks": Case(
        lambda: four_bits("Gemm", "blocks", integers=False, transB=1), "", computes=WEIGHT_ONLY
    ),
    "matrix, channels, beside integers": Case(
        lambda: four_bits("MatMul", "channels", integers=True), "", computes=INT8
    ),
    "matrix, rows, beside integers": Case(
        lambda: four_bits("MatMul", "rows", integers=True), _ASTRAY, WARNING, computes=UNKNOWN
    ),
    "matrix, one scale": _four("MatMul", "one", WARNING, computes=DROPPED),
    "matrix, channels": _four("MatMul", "channels", WARNING, computes=DROPPED),
    "matrix, one scale, beside integers": _four("MatMul", "one", ERROR, integers=True, stage="build", says="Myelin"),
    "matrix in blocks, beside integers": _four("MatMul", "blocks", WARNING, integers=True, computes=INT8),
    "turned matrix in blocks, beside integers": _four(
        "Gemm", "blocks", WARNING, integers=True, stage="build", says="Myelin", attributes={"transB": 1}
    ),
    "matrix in one block": _four("MatMul", "one block", WARNING, computes=DROPPED),
    "matrix in blocks, an odd number of columns": Case(
        lambda: four_bits("MatMul", "blocks of 31", integers=False, shape=(64, 31)),
        "four_bits_without_kernel",
        WARNING,
        computes=DROPPED,
    ),
    "matrix in blocks along its columns": Case(
        lambda: four_bits("MatMul", "blocks of columns", integers=False), "", computes=WEIGHT_ONLY
    ),
    "matrix in blocks that are cut short": Case(
        lambda: four_bits("MatMul", "blocks cut short", integers=False),
        "four_bits_without_kernel",
        stage="parse",
        says="must divide into whole blocks",
    ),
    "Conv, channels": _four("Conv", "channels of a Conv", WARNING, computes=DROPPED),
    "Conv, channels, beside integers": _four(
        "Conv", "channels of a Conv", ERROR, integers=True, stage="build", says="Myelin"
    ),
    "Conv in blocks": _four("Conv", "blocks of a Conv", ERROR, stage="parse", says="The blocking dimension must be"),
    "activation": Case(four_bits_passed, "four_bits_without_kernel", ERROR, stage="build", says="Myelin"),
}

# --- uint8, types, scales ---------------------------------------------------------------------------------------------


def unsigned(where: str) -> ModelProto:
    """uint8 with zero point 0: of a stored weight, of a float weight behind a pair, of the graph's input or output."""
    file = int8()
    if where in ("stored", "pair"):
        zero = file.constant("w_z", np.uint8(0))
        codes = np.arange(32).reshape(8, 4, 1, 1)
        held = file.constant("w", codes.astype(np.uint8 if where == "stored" else np.float32))
        scale = file.constant("w_s", np.float32(0.5))
        if where == "pair":
            held = file.node("QuantizeLinear", held, scale, zero, name="w_q")
        weight = file.node("DequantizeLinear", held, scale, zero, name="w_dq")
        return file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="product")))
    names = [file.constant("s", np.float32(0.05)), file.constant("z", np.uint8(0))]
    if where == "input":
        model = _product(file, "Conv", file.node("DequantizeLinear", "x", *names, name="dq"), normal(8, 4, 1, 1), 0.01)
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
        return model
    weight = stored(file, "w", normal(8, 4, 1, 1), 0.01)
    result = file.node("Conv", file.pair("x"), weight, name="product")
    model = file.give(file.node("QuantizeLinear", result, *names, name="y"))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    return model


def of_type(element: str) -> ModelProto:
    """A stored weight of that type."""
    file = int8(opset=23)
    file.constant("w_s", np.float32(0.5))
    weight = file.node("DequantizeLinear", "w", "w_s", "w_z", name="w_dq")
    model = file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="product")))
    kind = getattr(TensorProto, element)
    model.graph.initializer.append(helper.make_tensor("w_z", kind, [], [0]))
    model.graph.initializer.append(helper.make_tensor("w", kind, [8, 4, 1, 1], [0, 1] * 16))
    model.ir_version = 11
    return model


def with_scale(scale: float) -> ModelProto:
    return conv(normal(8, 4, 1, 1), file=int8(), data=scale)


def computed_zero() -> ModelProto:
    """A zero point that the caller gives."""
    file = int8()
    scale = file.constant("s", np.float32(0.05))
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", scale, "z", name="q"), scale, "z", name="dq")
    model = _product(file, "Conv", read, normal(8, 4, 1, 1), 0.01)
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.INT8, []))
    return model


_INVALID = "Found unsupported input type of UINT8"
_TYPES = ("UINT4", "INT16", "UINT16", "FLOAT8E5M2", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ")
VALUES: dict[str, Case] = {
    "uint8 weight": Case(lambda: unsigned("stored"), "unsigned_integers", stage="parse", says=_INVALID),
    "uint8 weight behind a pair": Case(lambda: unsigned("pair"), "unsigned_integers", computes=INT8),
    "uint8 input": Case(lambda: unsigned("input"), "unsigned_integers", stage="parse", says=_INVALID),
    "uint8 output": Case(lambda: unsigned("output"), "unsigned_integers", computes=INT8),
    **{
        f"weight of {name}": Case(
            lambda name=name: of_type(name), "unsupported_type", stage="parse", says="Failed to import initializer"
        )
        for name in _TYPES
    },
    **{
        f"scale of {scale}": Case(
            lambda scale=scale: with_scale(scale), "scale_not_positive", stage="parse", says="must all be positive"
        )
        for scale in (0.0, -0.05, float("nan"))
    },
    "too few scales": Case(
        lambda: conv(normal(8, 4, 1, 1), _CHANNELS[:4], file=int8()),
        "scale_length",
        stage="parse",
        says="The number of scales is not equal to the number of output channels",
    ),
    "scale of inf": Case(lambda: with_scale(float("inf")), "scale_not_positive", computes=INT8),
    "zero point of the caller": Case(
        computed_zero, "zero_point_not_zero", stage="build", says="`zero_point` which is not an initializer"
    ),
}

FILES: dict[str, Case] = {**CARRYING, **AXES, **FOUR_BITS, **VALUES}
