"""One node as a model, run by the executor and by ONNX Runtime without optimisations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
_OPSETS = {"com.microsoft": 1}


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    constants: Mapping[str, Array | TensorProto] | None = None,
    opset: int = 21,
) -> ModelProto:
    """A model whose inputs have the types and shapes of arrays."""
    stored = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        stored,
    )
    ids = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=ids, ir_version=10)


def by_runtime(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every output, node by node as the model says."""
    return runtime(model)(feeds)


def runtime(model: ModelProto) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """A model in ONNX Runtime without optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def by_executor(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    import torch

    from qdsl.train import Executor

    copy = ModelProto()
    copy.CopyFrom(model)
    with torch.no_grad():
        return {name: tensor.numpy() for name, tensor in Executor(copy).run(feeds).items()}


def assert_same(model: ModelProto, feeds: Mapping[str, Array], most: float = 1e-4) -> None:
    """Floats within `most` of the tensor's maximum; integers of 8 and 16 bits at most a step off, in 99.9 % of the
    elements equal; everything else equal."""
    ours, theirs = by_executor(model, feeds), by_runtime(model, feeds)
    for name, wanted in theirs.items():
        found = ours[name]
        assert found.shape == wanted.shape, (name, found.shape, wanted.shape)
        if wanted.dtype.kind == "f":
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
            finite = np.isfinite(wanted)
            largest = np.abs(wanted[finite]).max(initial=0.0)
            assert np.abs(found[finite] - wanted[finite]).max(initial=0.0) <= most * max(largest, 1e-3), name
        elif wanted.dtype.itemsize <= 2 and wanted.dtype.kind != "b":
            steps = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
            assert (steps > 0).sum() <= steps.size // 1000 and steps.max(initial=0) <= 1, name
        else:
            np.testing.assert_array_equal(found, wanted)


def floats(seed: int, *shape: int, scale: float = 2.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def assert_gradients(loss: Callable[[], Any], leaves: Mapping[str, Any], places: int = 12) -> None:
    """Gradients of `loss` by `leaves` (float64) against central differences, at some places of each, within 1e-5 of the
    largest."""
    import torch

    for leaf in leaves.values():
        leaf.grad = None
    loss().backward()
    for name, leaf in leaves.items():
        flat, grad = leaf.detach().reshape(-1), leaf.grad.reshape(-1)  # the same memory
        for place in np.random.default_rng(0).permutation(flat.numel())[:places]:
            was, found = float(flat[place]), []
            for step in (1e-5, -1e-5):
                flat[place] = was + step
                with torch.no_grad():
                    found.append(float(loss()))
            flat[place] = was
            wanted = (found[0] - found[1]) / 2e-5
            assert abs(float(grad[place]) - wanted) <= 1e-5 * max(float(grad.abs().max()), 1e-3), (name, int(place))
