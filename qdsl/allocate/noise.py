"""What rounding the weights of a layer does to what the layer writes, on samples: the loss where a recipe names no
sensitivity.

Beside each layer stands a copy of it that reads the rounding error instead of the weights. A layer is linear in its
weights, so what the copy writes is the error of the output. The loss is its energy relative to that of the output,
the inverse of the layer's own signal-to-noise ratio: errors of layers add up where they are small and independent. It
asks for no gradients and no labels, and knows nothing of what the network does with the error behind the layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from qdsl.allocate.weight_choices import Choice
from qdsl.calibrate import Ranges
from qdsl.calibrate.session import run, session
from qdsl.data import Sample
from qdsl.passes.qdq_parameters import parameters, weight_key
from qdsl.quant import dequantize, quantize_weight
from qdsl.ranges.cut_ranges import cut_ranges
from qdsl.spec.plan import WeightPlan
from qdsl.work.prepared import Prepared

SAMPLES = 16
LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ERROR, _OUT, _SIGNAL = "qdsl_error", "qdsl_noise", "qdsl_signal"
Heard = Callable[[str, int, int], None]
Array = NDArray[Any]


def noises(
    prepared: Prepared, measured: Ranges, choices: Sequence[Choice], samples: Sequence[Sample], heard: Heard
) -> dict[str, dict[str, float]]:
    """By node and by the words of a choice, the energy of the error over that of the output: 0 where a choice leaves
    the node in float, NaN where what a node writes is not finite. Nodes that are not linear in their weights, and all
    where there are no samples, are judged by the weights alone. Raises QdslError calibration-load, calibration-run,
    weight-not-finite."""
    found: dict[str, dict[str, float]] = {}
    for at, choice in enumerate(choices):
        heard(f"noise of {choice.words}", at, len(choices))
        errors = _errors(prepared, measured, choice)
        for node, weights in choice.weights.items():
            found.setdefault(node, {})[choice.words] = _of_weights(prepared, weights, errors)
        for node, noise in _of_outputs(prepared, choice, errors, samples).items():
            found[node][choice.words] = noise
    return found


def _errors(prepared: Prepared, measured: Ranges, choice: Choice) -> dict[tuple[str, int], Array]:
    """By node and port, what rounding adds to the weights."""
    model, decided = prepared.model, choice.decisions
    known = parameters(decided.plan, cut_ranges(prepared, decided, measured), prepared.view, model)
    found = {}
    for weight in (each for weights in choice.weights.values() for each in weights):
        key, value = weight_key(weight, prepared.view), model.values(weight.tensor)
        stored = quantize_weight(value, key.scheme, known.weights[key], key.guard)
        found[weight.node, weight.port] = dequantize(stored.values, stored.params) - value
    return found


def _of_weights(prepared: Prepared, weights: Iterable[WeightPlan], errors: Mapping[tuple[str, int], Array]) -> float:
    error = math.fsum(_energy(errors[weight.node, weight.port]) for weight in weights)
    signal = math.fsum(_energy(prepared.model.values(weight.tensor)) for weight in weights)
    return error / signal if signal else 0.0


def _energy(values: Array) -> float:
    return float(np.sum(np.square(values, dtype=np.float64)))


def _of_outputs(
    prepared: Prepared, choice: Choice, errors: Mapping[tuple[str, int], Array], samples: Sequence[Sample]
) -> dict[str, float]:
    one = {node: weights[0] for node, weights in choice.weights.items() if len(weights) == 1}
    linear = [weight for node, weight in one.items() if prepared.view.node(node).op in LINEAR]
    if not linear or not samples:
        return {}
    loaded = session(prepared.model, lambda proto: _instrument(proto, linear, errors))
    names = [f"{what}.{at}" for at in range(len(linear)) for what in (_OUT, _SIGNAL)]
    rows = [[float(value) for value in run(loaded, names, sample, prepared.model)] for sample in samples]
    sums = [math.fsum(column) for column in zip(*rows, strict=True)]
    pairs = zip(linear, sums[::2], sums[1::2], strict=True)
    return {weight.node: _share(noise, signal) for weight, noise, signal in pairs if signal != 0.0}


def _share(noise: float, signal: float) -> float:
    """Of energies; NaN where one of them is not finite: of an infinite signal any noise would be nothing."""
    return noise / signal if math.isfinite(noise) and math.isfinite(signal) else math.nan


def _instrument(proto: ModelProto, linear: Sequence[WeightPlan], errors: Mapping[tuple[str, int], Array]) -> None:
    """Put the copies into `proto`, in place, and make the energies of errors and outputs its only outputs."""
    nodes = {node.name: node for node in proto.graph.node}
    added: dict[str, list[NodeProto]] = {}
    for at, weight in enumerate(linear):
        node = nodes[weight.node]
        error = f"{_ERROR}.{at}"
        proto.graph.initializer.append(numpy_helper.from_array(errors[weight.node, weight.port], error))
        copy = _copy(node, weight.port, error, f"{error}.out", proto)
        energies = ((copy.output[0], f"{_OUT}.{at}"), (node.output[0], f"{_SIGNAL}.{at}"))
        sums = [helper.make_node("ReduceSumSquare", [x], [y], name=y, keepdims=0) for x, y in energies]
        added[node.name] = [copy, *sums]
    ordered = [each for node in list(proto.graph.node) for each in (node, *added.get(node.name, ()))]
    del proto.graph.node[:], proto.graph.output[:]
    proto.graph.node.extend(ordered)
    names = (f"{what}.{at}" for at in range(len(linear)) for what in (_OUT, _SIGNAL))
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in names)


def _copy(node: NodeProto, port: int, error: str, output: str, proto: ModelProto) -> NodeProto:
    """The node without its bias, reading the error."""
    made = NodeProto()
    made.CopyFrom(node)
    made.name = output
    inputs = list(node.input)[:2]
    inputs[port] = error
    if node.op_type == "Gemm":  # which older opsets know with three inputs alone
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), f"{error}.c"))
        inputs.append(f"{error}.c")
    del made.input[:], made.output[:]
    made.input.extend(inputs)
    made.output.append(output)
    return made
