"""Between an array in the order of the ONNX tensor and the one that is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Tensor


def stored(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """`array`, in the order of ONNX, as `tensor` stores it: axis i is ONNX's axis `tensor.axes[i]`.

    Raises ValueError where type or shape are not the tensor's."""
    if array.ndim != len(tensor.axes):
        raise ValueError(f"{tensor.name}: {array.ndim} axes instead of {len(tensor.axes)}")
    return checked(tensor, np.asarray(array.transpose(tensor.axes), order="C"))


def as_onnx(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """What `stored` undoes: `array`, as `tensor` stores it, in the order of ONNX. Raises ValueError likewise."""
    return np.asarray(checked(tensor, array).transpose(np.argsort(tensor.axes)), order="C")


def checked(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """`array`, which is what `tensor` stores. Raises ValueError where it cannot be."""
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        expected = f"{tensor.dtype}{list(tensor.shape)}"
        raise ValueError(f"{tensor.name}: {array.dtype}{list(array.shape)} where {expected} is stored")
    return array
