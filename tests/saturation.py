"""Integer kernels of an x86-64 CPU without VNNI in numpy: products added two by two in saturating int16.

The oracle on any machine. On such a CPU it equals ONNX Runtime to the bit (tests/test_saturation.py).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
UINT8, INT32 = TensorProto.UINT8, TensorProto.INT32


@cache
def has_vnni() -> bool:
    """Whether the processor that this runs on adds such products exactly. It is asked by a product, not by
    /proc/cpuinfo: an emulated one has the file of its host."""
    import onnxruntime as ort

    ports = [helper.make_tensor_value_info(name, kind, None) for name, kind in (("x", UINT8), ("y", INT32))]
    weight = numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w")
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [weight])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    return bool((found == 255 * 127 * 64).all())


def paired(unsigned: Array, signed: Array) -> Array:
    """[M, K] unsigned times [K, N] signed, raw integers, each pair of neighbours along K held to int16."""
    a, b = unsigned.astype(np.int64), signed.astype(np.int64)
    if a.shape[1] % 2:
        a, b = np.pad(a, ((0, 0), (0, 1))), np.pad(b, ((0, 1), (0, 0)))
    pairs = [a[:, k : k + 1] * b[k : k + 1] + a[:, k + 1 : k + 2] * b[k + 1 : k + 2] for k in range(0, a.shape[1], 2)]
    return np.sum([np.clip(pair, -(2**15), 2**15 - 1) for pair in pairs], axis=0)


def conv_sums(x: Array, x_zero: int, w: Array, w_zero: int, *, group: int, stride: int, pad: int, kernel: str) -> Array:
    """Integer sums of a 2-D convolution, [outputs, height, width], of `x` [channels, height, width] and
    `w` [outputs, channels / group, height, width], less their zero points.

    `kernel`: "QLinearConv" (uint8 x int8, channels last, depthwise exact), "ConvInteger" (int8 x uint8, channels
    first), "exact".
    """
    outputs, channels, high, wide = w.shape
    each, last = outputs // group, kernel == "QLinearConv"
    if last and channels == 1 and each == 1:
        kernel = "exact"
    found = []
    for g in range(group):
        columns, shape = _windows(x[g * channels : (g + 1) * channels], (high, wide), stride, pad, x_zero, last)
        part = w[g * each : (g + 1) * each].astype(np.int64)
        rows = (part.transpose(0, 2, 3, 1) if last else part).reshape(each, -1)
        raw = _products(columns, rows, kernel)
        raw = raw - x_zero * rows.sum(1) - w_zero * columns.sum(1)[:, None] + rows.shape[1] * x_zero * w_zero
        found.append(raw.T.reshape(each, *shape))
    return np.concatenate(found)


def _products(columns: Array, rows: Array, kernel: str) -> Array:
    if kernel == "QLinearConv":
        return paired(columns, rows.T)
    return paired(rows, columns.T).T if kernel == "ConvInteger" else columns @ rows.T


def _windows(
    x: Array, kernel: tuple[int, int], stride: int, pad: int, zero: int, channels_last: bool
) -> tuple[Array, tuple[int, int]]:
    padded = np.pad(x.astype(np.int64), ((0, 0), (pad, pad), (pad, pad)), constant_values=zero)
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride, ::stride]
    order = (1, 2, 3, 4, 0) if channels_last else (1, 2, 0, 3, 4)
    high, wide = views.shape[1:3]
    return views.transpose(order).reshape(high * wide, -1), (high, wide)
