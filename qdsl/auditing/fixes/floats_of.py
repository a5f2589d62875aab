"""The floats that a DequantizeLinear makes of stored integers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.finished.codes import codes, scales, zeros
from qdsl.finished.records import Finished, QuantizedTensor

_LARGEST = 1 << 24  # bytes
_FLOAT = (None, onnx.TensorProto.UNDEFINED, onnx.TensorProto.FLOAT)  # of `output_dtype`, since opset 23


def floats_of(finished: Finished, record: QuantizedTensor, node: gs.Node) -> NDArray[np.float32] | None:
    """What `node`, the DequantizeLinear of `record`, computes, to the bit; None where that is not known, no float32, or
    too large to be written out."""
    stored = finished.view.tensors.get(record.stored)
    if node.attrs.get("output_dtype") not in _FLOAT:
        return None
    if record.parameters.scale_element != "float32" or stored is None or (stored.elements or 0) * 4 > _LARGEST:
        return None
    held = codes(finished, record)
    if held is None:
        return None
    scale, zero = scales(record.parameters, held.shape), zeros(record.parameters, held.shape)
    if scale is None or zero is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # whatever the file's scale is, as it is computed there
        return np.asarray((held.astype(np.int32) - zero).astype(np.float32) * scale, np.float32)
