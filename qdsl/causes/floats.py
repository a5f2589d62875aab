"""The float values of what a file stores as integers, found in the float model that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph import Model
from qdsl.quant import QParams, dequantize
from qdsl.spec import DTYPES

# What tools append to the name of a tensor for its integers.
_SUFFIXES = ("_quantized", "_quant", "_q")
# Weights that agree less are not those of the same layer: 4 bits per tensor agree to 0.9 and more.
_LEAST_COSINE = 0.5


def float_weights(finished: Finished, floats: Model) -> dict[str, NDArray[Any]]:
    """The float values of stored weights and biases, by the float tensor that they stand for. A weight is what a node
    of the same name reads at the same port of `floats`, or the constant of the same name without what tools append, if
    it is of the same shape and points the same way. Others are left out."""
    nodes = {node.name: node for node in floats.nodes()}
    found: dict[str, NDArray[Any]] = {}
    for record in finished.tensors:
        if record.form is not Form.STORED or record.between or record.tensor in found:
            continue
        values = next(_matching(finished.model, floats, nodes, record), None)
        if values is not None:
            found[record.tensor] = values.astype(record.parameters.scale_element)
    return found


def _matching(
    model: Model, floats: Model, nodes: dict[str, gs.Node], record: QuantizedTensor
) -> Iterator[NDArray[Any]]:
    """What may be the float values of a stored constant."""
    if not isinstance(model.tensor(record.stored), gs.Constant):
        return
    shape = model.lazy(record.stored).shape
    for name in _candidates(floats, nodes, record):
        if floats.lazy(name).shape == shape:
            values = floats.values(name)
            # Corrected biases may point elsewhere.
            if record.role is Role.BIAS or _alike(values, _values(model, record)):
                yield values


def _candidates(floats: Model, nodes: dict[str, gs.Node], record: QuantizedTensor) -> Iterator[str]:
    for reader in record.readers:
        node = nodes.get(reader.node)
        if node is not None and reader.port < len(node.inputs) and isinstance(node.inputs[reader.port], gs.Constant):
            yield node.inputs[reader.port].name
    for suffix in _SUFFIXES:
        name = record.stored.removesuffix(suffix)
        if name != record.stored and isinstance(floats.tensor(name), gs.Constant):
            yield name


def _alike(values: NDArray[Any], stored: NDArray[Any] | None) -> bool:
    """Whether two weights point the same way; those that nothing is known of do."""
    if stored is None:
        return True
    one, other = values.astype(np.float64).ravel(), stored.astype(np.float64).ravel()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return size == 0.0 or float((one * other).sum()) >= _LEAST_COSINE * size


def _values(model: Model, record: QuantizedTensor) -> NDArray[Any] | None:
    """What the file makes of its integers; None where that takes more than this looks at."""
    parameters = record.parameters
    dtype = DTYPES.get(parameters.element)
    if parameters.scale is None or dtype is None or not dtype.integer:
        return None
    scale = parameters.scale.astype(np.float32)
    zero = np.zeros(scale.shape, np.int64) if parameters.zero_point is None else parameters.zero_point
    return dequantize(model.values(record.stored), QParams(scale, zero, dtype, parameters.axis, parameters.block))
