"""What is said of a finished file beside what ONNX Runtime runs of it, node by node; and files that its own quantizer
makes."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdsl.auditing.running import what_runs
from qdsl.capability import load as load_table
from qdsl.finished.collapse import collapse
from qdsl.finished.reading import read as read_finished
from qdsl.graph import Model, from_proto
from qdsl.graph import load as load_model
from qdsl.spec.plan import Prediction
from qdsl.targets import target_of
from qdsl.targets.ort import reality
from qdsl.targets.ort.verify import _agree, _removed
from qdsl.targets.results import Ran

TABLE = load_table("ort_cpu")
# What takes parts of a tensor: where these are the whole of it, the runtime may make one Split of the nodes.
PARTS = ("Slice", "Gather")


@dataclass(frozen=True)
class Compared:
    """How many nodes were compared, and those of which something else was said than runs, in words."""

    nodes: int
    apart: tuple[str, ...]


def said_of(model: Model) -> dict[str, Prediction]:
    """What is said of each node of a file, by name."""
    finished = read_finished(model)
    return what_runs(finished, collapse(finished), target_of("ort").runtime, TABLE)


def compared(source: Path | bytes) -> Compared:
    """Every node of a file but its Q and DQ. What moves integers or floats as they come agrees with anything; of what
    the runtime took out nothing can be said wrongly."""
    model = load_model(source) if isinstance(source, Path) else from_proto(onnx.load_from_string(source))
    said, ran = said_of(model), reality.read(source, counts=False).nodes
    quantizers = {node.name for node in model.view().nodes if node.op in reality.QUANTIZERS}
    names = [name for name in {**said, **ran} if name not in quantizers]
    found = (_apart(name, said.get(name), ran.get(name, Ran("absent", ""))) for name in names)
    return Compared(len(names), tuple(filter(None, found)))


def _apart(name: str, said: Prediction | None, ran: Ran) -> str:
    if said is None:
        return f"{name}: nothing said, {ran.runs} {ran.kernel}"
    if _removed(ran) or ran.runs == "moves":
        return ""
    same = _agree(said.runs, ran.runs, False)
    kernel = ran.runs != "integer" or said.runs != "integer" or said.kernels[-1:] == (ran.kernel,)
    kernel = kernel or (said.kernel in PARTS and ran.kernel in ("Split", "Squeeze"))
    assert said.because, f"{name}: no reason"
    return "" if same and kernel else f"{name}: {said.runs} {said.kernel} ({said.because}), {ran.runs} {ran.kernel}"


# --- files that onnxruntime.quantization makes ----------------------------------------------------------------------


class _Random:
    """Two samples for every input of a model; a free dimension is 1."""

    def __init__(self, model: onnx.ModelProto, seed: int) -> None:
        draw = np.random.default_rng(seed)
        stored = {tensor.name for tensor in model.graph.initializer}
        given = [info for info in model.graph.input if info.name not in stored]
        shapes = {info.name: [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim] for info in given}
        self._samples: Iterator[Mapping[str, NDArray[Any]]] = iter(
            [{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2)]
        )

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        return next(self._samples, None)


def by_onnxruntime(model: onnx.ModelProto, seed: int, folder: Path) -> Path | None:
    """`model` as one of the ways of ONNX Runtime's quantizer makes it, with options at random; None where the quantizer
    itself gives up."""
    from onnxruntime import quantization

    rng, path = random.Random(seed), folder / "float.onnx"
    onnx.save(model, path)
    made = folder / "made.onnx"
    way = rng.choice(["qdq"] * 6 + ["operators"] * 2 + ["dynamic", "packed"])
    logging.disable(logging.WARNING)  # the quantizer's own advice
    try:
        if way == "dynamic":
            _dynamic(quantization, rng, path, made)
        elif way == "packed":
            _packed(quantization, rng, model, made)
        else:
            _static(quantization, rng, path, made, _Random(model, seed), operators=way == "operators")
    except RuntimeError:  # `Invalid model with unknown initializers/tensors`, of a graph that is valid
        return None
    finally:
        logging.disable(logging.NOTSET)
    return made


WAYS = ("s8s8", "u8s8", "u8u8", "u8s8 per channel", "u16s8 per channel", "operators", "dynamic", "packed")


def of_way(path: Path, way: str, made: Path) -> None:
    """The model in `path` as one of `WAYS` makes it. Raises what the quantizer raises."""
    from onnxruntime import quantization

    if way == "dynamic":
        quantization.quantize_dynamic(path, made)
    elif way == "packed":
        _packed(quantization, random.Random(0), onnx.load(path), made)
    else:
        _plain(quantization, path, made, way)


def _plain(quantization: Any, path: Path, made: Path, way: str) -> None:
    kinds, forms = quantization.QuantType, quantization.QuantFormat
    types = {"s8": kinds.QInt8, "u8": kinds.QUInt8, "u16": kinds.QUInt16}
    word = "u8s8" if way == "operators" else way.split()[0]
    quantization.quantize_static(
        path,
        made,
        _Random(onnx.load(path), 0),
        quant_format=forms.QOperator if way == "operators" else forms.QDQ,
        activation_type=types[word[:-2]],
        weight_type=types[word[-2:]],
        per_channel="per channel" in way,
    )


def _static(quantization: Any, rng: random.Random, path: Path, made: Path, data: Any, *, operators: bool) -> None:
    kinds, forms = quantization.QuantType, quantization.QuantFormat
    types = [(kinds.QUInt8, kinds.QInt8)] * 3 + [(kinds.QInt8, kinds.QInt8)] * 3 + [(kinds.QUInt8, kinds.QUInt8)]
    if not operators:
        types += [(kinds.QUInt16, kinds.QInt8), (kinds.QInt16, kinds.QInt8), (kinds.QUInt8, kinds.QInt4)]
    activations, weights = rng.choice(types)
    options = {
        "ActivationSymmetric": rng.random() < 0.3,
        "WeightSymmetric": rng.random() < 0.8,
        "AddQDQPairToWeight": rng.random() < 0.3,
        "DedicatedQDQPair": rng.random() < 0.3,
        "ForceQuantizeNoInputCheck": rng.random() < 0.3,
        "QDQKeepRemovableActivations": rng.random() < 0.3,
        "QuantizeBias": rng.random() < 0.8,
        "UseQDQContribOps": rng.random() < 0.3,
    }
    quantization.quantize_static(
        path,
        made,
        data,
        quant_format=forms.QOperator if operators else forms.QDQ,
        activation_type=activations,
        weight_type=weights,
        per_channel=rng.random() < 0.5,
        reduce_range=rng.random() < 0.2,
        extra_options=options,
    )


def _dynamic(quantization: Any, rng: random.Random, path: Path, made: Path) -> None:
    kinds = quantization.QuantType
    options = {"WeightSymmetric": rng.random() < 0.8, "MatMulConstBOnly": rng.random() < 0.7}
    weights = rng.choice([kinds.QInt8, kinds.QUInt8])
    quantization.quantize_dynamic(
        path, made, weight_type=weights, per_channel=rng.random() < 0.5, extra_options=options
    )


def _packed(quantization: Any, rng: random.Random, model: onnx.ModelProto, made: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    form = rng.choice([quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator])
    quantizer = MatMulNBitsQuantizer(model, block_size=16, is_symmetric=rng.random() < 0.5, quant_format=form)
    quantizer.process()
    onnx.save(quantizer.model.model, made)
