"""The mean of each channel of some tensors, over the first samples of a dataset: what bias correction rests on.

One sample after the other on one thread, summed in float64 in the dataset's order and rounded to float32 at the end:
the same bits on every call. Memory does not grow with the samples, since the graph itself reduces each tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from qdsl.calibrate.session import run, session
from qdsl.data import Dataset, Sample
from qdsl.graph import Model
from qdsl.graph.view import GraphView

# A mean settles long before a range does.
MEANS_OVER = 64
_AXES_BY_INPUT = 18  # the opset from which ReduceMean takes its axes as an input


def channel_means(
    model: Model,
    tensors: Sequence[str],
    dataset: Dataset,
    *,
    most: int = MEANS_OVER,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[float, ...]]:
    """The mean of each channel (axis 1) of each of `tensors` over the first `most` samples of `dataset`, as float32
    values, by name in sorted order. `progress` hears (samples done, samples in all).

    Raises QdslError: calibration-load, calibration-run, calibration-non-finite, and those of the dataset.
    """
    names = sorted(dict.fromkeys(tensors))
    total = min(most, len(dataset))
    if not names or not total:
        return {}
    view = model.view()
    outputs: list[str] = []
    loaded = session(model, lambda proto: outputs.extend(_reduce(proto, view, names)))
    sums: list[NDArray[np.float64]] = []
    for done, sample in enumerate(islice(dataset, total), start=1):
        found = [np.asarray(mean, np.float64).reshape(-1) for mean in run(loaded, outputs, sample, dataset)]
        _require_finite(names, found, sample, dataset)
        sums = found if not sums else [a + b for a, b in zip(sums, found, strict=True)]
        if progress is not None:
            progress(done, total)
    return {name: tuple((s / total).astype(np.float32).tolist()) for name, s in zip(names, sums, strict=True)}


def _reduce(proto: ModelProto, view: GraphView, names: Sequence[str]) -> list[str]:
    """Make the means of `names` the only outputs of `proto`, in place; their names."""
    prefix = "qdsl_mean"
    while any(name.startswith(prefix) for name in view.tensors):
        prefix += "_"
    made = []
    for number, name in enumerate(names):
        shape = view.tensors[name].shape or ()
        axes = [axis for axis in range(len(shape)) if axis != 1]
        output = f"{prefix}/{number}"
        if view.opset < _AXES_BY_INPUT:
            node = helper.make_node("ReduceMean", [name], [output], name=output, axes=axes, keepdims=0)
        else:
            proto.graph.initializer.append(helper.make_tensor(f"{output}/axes", TensorProto.INT64, [len(axes)], axes))
            node = helper.make_node("ReduceMean", [name, f"{output}/axes"], [output], name=output, keepdims=0)
        proto.graph.node.append(node)
        made.append(output)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in made)
    return made


def _require_finite(
    names: Sequence[str], found: Sequence[NDArray[np.float64]], sample: Sample, dataset: Dataset
) -> None:
    for name, means in zip(names, found, strict=True):
        if not np.isfinite(means).all():
            headline = f"tensor {name} holds a channel without a finite mean for sample {sample.id}"
            help = ("look at this sample and at the weights before this tensor",)
            raise dataset.error("calibration-non-finite", headline, help=help)
