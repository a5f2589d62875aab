"""Operators that take scales and zero points as inputs of their own, and those that quantize floats themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from qdsl.finished.flow import readers_of
from qdsl.finished.packed import PACKED, read_packed
from qdsl.finished.parameters import Written, axis_of, block_of, counted, keyed
from qdsl.finished.records import Form, Parameters, QuantizedTensor, Role
from qdsl.finished.work import Work
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity
from qdsl.spec.plan import Reader

_DOMAINS = ("", "com.microsoft", "com.ms.internal.nhwc", "trt")
_NARROW = {"TRT_FP4DynamicQuantize": "float4e2m1", "TRT_MXFP8DynamicQuantize": "float8e4m3fn"}
_MULS = 3  # after the sums of integers, until they are floats to scale
_UNKNOWN = "uint8"


@dataclass(frozen=True, slots=True)
class Operand:
    """The ports of integers, their scale and their zero point, -1 for none; `axis` of the channels, where there are
    several."""

    data: int
    scale: int = -1
    zero: int = -1
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Kernel:
    """An operator: what it reads in integers, the ports of scale and zero point of what it writes (None: it writes
    floats, or sums), the port of an int32 bias in steps of the first two scales, and the port of the floats that it
    quantizes itself."""

    operands: tuple[Operand, ...] = ()
    output: tuple[int, int] | None = None
    bias: int = -1
    dynamic: int = -1


_ONE = Kernel((Operand(0, 1, 2),), (3, 4))
_TWO = Kernel((Operand(0, 1, 2), Operand(3, 4, 5)), (6, 7))
_CONV = Kernel((Operand(0, 1, 2), Operand(3, 4, 5, axis=0)), (6, 7), bias=8)
KERNELS = {
    "QLinearConv": _CONV,
    "QLinearConvTranspose": replace(_CONV, operands=(Operand(0, 1, 2), Operand(3, 4, 5, axis=1))),
    "QLinearMatMul": _TWO,
    "QGemm": Kernel((Operand(0, 1, 2), Operand(3, 4, 5)), (7, 8), bias=6),
    "QLinearAdd": _TWO,
    "QLinearMul": _TWO,
    "QLinearWhere": Kernel((Operand(1, 2, 3), Operand(4, 5, 6)), (7, 8)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean"), _ONE),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), _ONE),
    "ConvInteger": Kernel((Operand(0, zero=2), Operand(1, zero=3, axis=0))),
    "MatMulInteger": Kernel((Operand(0, zero=2), Operand(1, zero=3))),
    "MulInteger": Kernel((Operand(0, zero=1), Operand(2, zero=3))),
    "MatMulInteger16": Kernel((Operand(0), Operand(1))),
    "ReduceSumInteger": Kernel((Operand(0),)),
    "MatMulIntegerToFloat": Kernel((Operand(0, 2, 4), Operand(1, 3, 5))),
    "QAttention": Kernel((Operand(0, 3, 6), Operand(1, 4, 7))),
    "QOrderedMatMul": Kernel((Operand(0, 1), Operand(2, 3)), (4, -1)),
    "QEmbedLayerNormalization": Kernel(tuple(Operand(2 + at, 8 + at, 13 + at) for at in range(5))),
    **dict.fromkeys(("DynamicQuantizeLinear", "TRT_FP4DynamicQuantize", "TRT_MXFP8DynamicQuantize"), Kernel(dynamic=0)),
    "DynamicQuantizeMatMul": Kernel((Operand(1, 2, 3),), dynamic=0),
    "DynamicQuantizeLSTM": Kernel((Operand(1, 8, 9), Operand(2, 10, 11)), dynamic=0),
}
_SUMS = ("ConvInteger", "MatMulInteger")


def read_written(work: Work) -> None:
    """What operators write in integers."""
    for node in work.view.nodes:
        kernel = _kernel(node)
        if kernel is not None:
            _written(work, node, kernel)


def read_operands(work: Work) -> None:
    """What operators read in integers, where nothing that writes it has told of it."""
    for node in work.view.nodes:
        kernel = _kernel(node)
        if kernel is not None:
            _read(work, node, kernel)
        elif node.op in PACKED and node.domain in _DOMAINS:
            read_packed(work, node)


def _kernel(node: NodeView) -> Kernel | None:
    if node.domain not in _DOMAINS:
        return None
    if node.op == "QLinearConcat":
        ports = range(2, len(node.inputs) - 2, 3)
        return Kernel(tuple(Operand(port, port + 1, port + 2) for port in ports), (0, 1))
    if node.op == "QGemm" and node.attrs.get("transB", 0):
        return replace(KERNELS["QGemm"], operands=(Operand(0, 1, 2), Operand(3, 4, 5, axis=0)))
    return KERNELS.get(node.op)


def _written(work: Work, node: NodeView, kernel: Kernel) -> None:
    if kernel.dynamic >= 0:
        _dynamic(work, node, kernel)
    if kernel.output is None or not node.outputs:
        return
    scale, zero = (_port(node, port) for port in kernel.output)
    if not scale:
        return  # it writes floats
    tensor = node.outputs[0]
    element = work.dtype(tensor) or (work.dtype(zero) if zero else None) or _UNKNOWN
    written = Written(element, scale, zero, shape=work.shape(tensor))
    work.check(node, tensor, written, work.dtype(tensor))
    flow = work.follower.follow(tensor, None)
    work.reached.update(flow.readers)
    readers = [Reader(work.view.nodes[index].name, 0) for index, _ in flow.dequantized]
    work.add(
        node.index,
        QuantizedTensor(
            tensor=tensor,
            role=Role.ACTIVATION,
            form=Form.OPERATOR,
            parameters=work.parameters(written),
            quantizers=(node.name,),
            between=tuple(work.view.nodes[index].name for index in sorted(flow.between)),
            readers=(*flow.readers, *readers),
            origin=work.origin(node.name),
        ),
    )


def _dynamic(work: Work, node: NodeView, kernel: Kernel) -> None:
    """Floats that a node makes integers of, by their own range."""
    tensor = _port(node, kernel.dynamic)
    if not tensor:
        return
    readers: list[Reader] = [Reader(node.name, kernel.dynamic)]
    between: set[int] = set()
    dequantized: list[int] = []
    if len(kernel.operands) == 0:
        if not readers_of(work.view, node.outputs[0]) and len(node.outputs) > 1 and node.outputs[1]:
            return  # only its scale is read: the QuantizeLinear that reads it is the record
        flow = work.follower.follow(node.outputs[0], None)
        work.reached.update(flow.readers)
        dequantized = [index for index, _ in flow.dequantized]
        work.dequantized.update(dequantized)
        between = flow.between
        readers = [each for index in dequantized for each in readers_of(work.view, work.view.nodes[index].outputs[0])]
        readers += flow.readers
    work.add(
        node.index,
        QuantizedTensor(
            tensor=tensor,
            role=Role.ACTIVATION,
            form=Form.DYNAMIC,
            parameters=_unread(work, node, kernel.dynamic),
            quantizers=(node.name,),
            dequantizers=tuple(work.view.nodes[index].name for index in sorted(dequantized)),
            between=tuple(work.view.nodes[index].name for index in sorted(between)),
            readers=tuple(readers),
            origin=work.origin(node.name),
        ),
    )


def _unread(work: Work, node: NodeView, port: int) -> Parameters:
    """What is only known while the model runs: uint8 with one scale or, of TensorRT, floats of few bits in blocks."""
    block = block_of(node.attrs) if node.op in _NARROW else 0
    made = Parameters(
        element=_NARROW.get(node.op, "uint8"),
        scale_element="float32",
        granularity=Granularity.PER_BLOCK if block else Granularity.PER_TENSOR,
        scale=None,
        zero_point=None,
        zero_written=node.op not in _NARROW,
        key="",
        axis=counted(axis_of(node.attrs), work.shape(node.inputs[port])) if block else None,
        block=block or None,
    )
    return keyed(made, f"{node.name}\0{port}")


def _read(work: Work, node: NodeView, kernel: Kernel) -> None:
    for operand in kernel.operands:
        tensor = _port(node, operand.data)
        constant = tensor in work.fixed
        if not tensor or (not constant and Reader(node.name, operand.data) in work.reached):
            continue
        element = work.dtype(tensor) or work.dtype(_port(node, operand.zero)) or _UNKNOWN
        scale = _port(node, operand.scale)
        sums = node.op in _SUMS and operand.data == 1
        if sums and constant:
            scale = _scale_behind(work, node)
        written = Written(element, scale, _port(node, operand.zero), operand.axis, shape=work.shape(tensor))
        if not sums and scale:
            work.check(node, tensor, written, work.dtype(tensor))
        found = _flat(work.parameters(written)) if sums else work.parameters(written)
        found = found if scale else keyed(found, f"{node.name}\0{operand.data}")
        _operand(work, node, operand.data, tensor, found)
    bias = _port(node, kernel.bias)
    if bias:
        _bias(work, node, kernel, bias)


def _operand(work: Work, node: NodeView, port: int, tensor: str, found: Parameters) -> None:
    constant = tensor in work.fixed
    work.add(
        node.index,
        QuantizedTensor(
            tensor=tensor,
            role=Role.WEIGHT if constant else Role.ACTIVATION,
            form=Form.OPERATOR,
            parameters=found,
            readers=(Reader(node.name, port),),
            stored=work.fixed.root(tensor) if constant else "",
            origin=work.origin(node.name),
        ),
    )


def _bias(work: Work, node: NodeView, kernel: Kernel, tensor: str) -> None:
    """An int32 bias stands in steps of the product of both scales."""
    scales = [work.fixed.value(_port(node, operand.scale)) for operand in kernel.operands[:2]]
    one, other = scales
    alpha = node.attrs.get("alpha", 1.0) if node.op == "QGemm" else 1.0
    product = None
    if one is not None and one.size and other is not None and isinstance(alpha, int | float):
        product = np.asarray(one.reshape(-1)[:1] * other * np.float32(alpha), np.float32)
        product = product.reshape(()) if product.size == 1 else product
    several = product is not None and product.size != 1
    made = Parameters(
        element=work.dtype(tensor) or "int32",
        scale_element="float32",
        granularity=Granularity.PER_CHANNEL if several else Granularity.PER_TENSOR,
        scale=product,
        zero_point=None,
        zero_written=False,
        key="",
        axis=max(len(work.shape(tensor) or ()) - 1, 0) if several else None,
    )
    made = keyed(made, f"{node.name}\0{kernel.bias}" if product is None else "")
    record = QuantizedTensor(
        tensor=tensor,
        role=Role.BIAS,
        form=Form.OPERATOR,
        parameters=made,
        readers=(Reader(node.name, kernel.bias),),
        stored=work.fixed.root(tensor) if tensor in work.fixed else "",
        origin=work.origin(node.name),
    )
    work.add(node.index, record)


def _scale_behind(work: Work, node: NodeView) -> str:
    """The scale of a weight whose sums become floats in a Cast and a Mul: the factor that no input reaches; "" where
    there is none."""
    sums = node.outputs[0]
    for _ in range(_MULS):
        after = work.view.consumers(sums)
        if len(after) != 1 or after[0].op not in ("Cast", "Mul"):
            return ""
        found = next(_factors(work, after[0], sums), "") if after[0].op == "Mul" else ""
        if found:
            return found
        sums = after[0].outputs[0]
    return ""


def _factors(work: Work, mul: NodeView, sums: str) -> Iterator[str]:
    others = [name for name in mul.inputs if name != sums]
    for other in others:
        above = work.view.producer(other)
        names = [other] if other in work.fixed or above is None or above.op != "Mul" else list(above.inputs)
        yield from (name for name in names if name in work.fixed)


def _flat(found: Parameters) -> Parameters:
    """A scale that is shaped to multiply what a Conv writes, as one number per channel."""
    if found.scale is None or found.scale.ndim < 2 or found.granularity is Granularity.PER_TENSOR:
        return found
    return keyed(replace(found, scale=found.scale.reshape(-1)))


def _port(node: NodeView, port: int) -> str:
    return node.inputs[port] if 0 <= port < len(node.inputs) else ""
