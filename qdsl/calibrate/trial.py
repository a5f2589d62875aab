"""Ranges tried out: for each of them the float model runs with one tensor rounded, as far as the next that is rounded,
and what comes out there is held against what the float model has.

One graph holds all of it, so that a sample is one run that leaves a handful of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from qdsl.calibrate.cones import Cone, Place, cone
from qdsl.calibrate.session import run, session
from qdsl.data import Dataset, Sample
from qdsl.graph import Model
from qdsl.graph.sessions import Session
from qdsl.graph.view import GraphView
from qdsl.spec import DType
from qdsl.spec.threads import in_order, processors

_MICROSOFT = "com.microsoft"  # its Q and DQ know 16 bits at any opset
STORED = ("uint8", "int8", "uint16", "int16")
# Copies of weights that one graph may read; more of them are tried one part after the other.
_MOST_COPIED = 256 << 20
_MOST_WORKERS = 4
# A channel that hardly varies counts as one that does by so much of what channels do on average.
_LEAST, _FLAT = 1e-3, 1e-6  # the second of squares, where one value is all that was seen
Heard = Callable[[int, int], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Option:
    """A scale and a zero point to try, for integers of `dtype`, one of STORED."""

    scale: np.float32
    zero_point: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Trial:
    """Tensors that have one scale, each with the places that read it rounded, and the scales to try. `limits` are the
    smallest and largest integer in use."""

    readers: Mapping[str, tuple[Place, ...]]
    options: tuple[Option, ...]
    limits: tuple[int, int]


def try_out(
    model: Model,
    trials: Sequence[Trial],
    stops: Collection[str],
    samples: Sequence[int],
    dataset: Dataset,
    heard: Heard,
) -> list[Floats]:
    """For each trial the error of each option on the `samples` (their numbers): the squared error of each channel over
    how much it varies, mean over channels, summed over the tensors that are compared. A channel is as loud as the
    weights behind it are small, so that none counts for its size. `stops` are the tensors that are rounded at all. The
    same bits whichever threads there are. `heard` is told of samples, done of all. Raises QdslError calibration-load,
    calibration-run and those of the dataset."""
    view = model.view()
    cones = [cone(view, trial.readers, stops) for trial in trials]
    parts = list(_parts(view, trials, cones))
    found: list[Floats] = [np.zeros(len(trial.options)) for trial in trials]
    done = 0
    for part in parts:
        made, reads = _loaded(model, view, trials, cones, part)
        names = [name for read in reads for name in read.names]
        sums: list[Floats] = [np.zeros(()) for _ in names]
        measured = partial(_measure, made, names, dataset)
        for numbers in in_order(measured, samples, min(_MOST_WORKERS, processors()), name="qdsl-trial"):
            sums = [before + number for before, number in zip(sums, numbers, strict=True)]
            done += 1
            heard(done, len(parts) * len(samples))
        _add(found, reads, sums)
    return found


def _loaded(
    model: Model, view: GraphView, trials: Sequence[Trial], cones: Sequence[Cone], part: Sequence[int]
) -> tuple[Session, list[_Read]]:
    """The graph that holds the trials of `part`, and what is read of it."""
    reads: list[_Read] = []
    return session(model, lambda proto: reads.extend(_build(proto, view, trials, cones, part))), reads


def _measure(made: Session, names: Sequence[str], dataset: Dataset, index: int) -> list[Floats]:
    sample: Sample = dataset.sample(index)
    return [np.asarray(value, np.float64) for value in run(made, names, sample, dataset)]


@dataclass(frozen=True, slots=True)
class _Read:
    """Numbers of one compared tensor in one trial, each by channel: how many values, their sum and squares, then the
    squared error of each option."""

    trial: int
    of: tuple[str, str, str]
    errors: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.of, *self.errors)


def _add(found: Sequence[Floats], reads: Sequence[_Read], sums: Sequence[Floats]) -> None:
    at = 0
    for read in reads:
        count, total, squares, *errors = sums[at : at + len(read.names)]
        at += len(read.names)
        spread = squares - total**2 / np.maximum(count / max(squares.size, 1), 1)
        spread = np.maximum(spread, max(_LEAST * spread.mean(), _FLAT * squares.mean()))
        if np.any(spread > 0):
            found[read.trial][:] += [float(np.mean(error / np.where(spread > 0, spread, np.inf))) for error in errors]


def _parts(view: GraphView, trials: Sequence[Trial], cones: Sequence[Cone]) -> Iterator[list[int]]:
    """The trials in lists whose copies of weights fit in memory together."""
    here: list[int] = []
    taken = 0
    for number, (trial, found) in enumerate(zip(trials, cones, strict=True)):
        constants = {name for node in found.nodes for name in node.inputs if view.is_constant(name)}
        size = len(trial.options) * sum(4 * (view.tensors[name].elements or 0) for name in constants)
        if here and taken + size > _MOST_COPIED:
            yield here
            here, taken = [], 0
        here.append(number)
        taken += size
    if here:
        yield here


def _build(
    proto: ModelProto, view: GraphView, trials: Sequence[Trial], cones: Sequence[Cone], part: Sequence[int]
) -> list[_Read]:
    """Put the trials of `part` into `proto`, in place, and make their numbers its only outputs."""
    writer = _Writer(proto, view)
    reads = [read for number in part for read in writer.trial(number, trials[number], cones[number])]
    writer.finish([name for read in reads for name in read.names])
    return reads


@dataclass
class _Writer:
    """Collects new nodes by the number of the node that they follow, then merges them into the node list."""

    proto: ModelProto
    view: GraphView
    _after: dict[int, list[NodeProto]] = field(default_factory=dict)
    _count: int = 0
    _prefix: str = "qdsl_trial"

    def __post_init__(self) -> None:
        while any(name.startswith(self._prefix) for name in self.view.tensors):
            self._prefix += "_"
        self._originals = {node.name: node for node in self.proto.graph.node}

    def trial(self, number: int, trial: Trial, found: Cone) -> Iterator[_Read]:
        """The nodes for one trial."""
        compared = (*found.own, *found.ends)
        if not compared:
            return
        at = max([-1, *(node.index for node in found.nodes), *(self._written(name) for name in trial.readers)])
        of = [self._of(name, at) for name in compared]
        errors: list[list[str]] = [[] for _ in compared]
        for option in trial.options:
            rounded = {name: self._rounded(name, option, trial.limits, at) for name in trial.readers}
            ends = self._copied(trial, found, rounded, at)
            for place, name in enumerate(compared):
                off = self._add(at, "Sub", name, rounded[name] if place < len(found.own) else ends[name])
                errors[place].append(self._squares(off, at, name))
        for figures, each in zip(of, errors, strict=True):
            yield _Read(number, figures, tuple(each))

    def _copied(self, trial: Trial, found: Cone, rounded: Mapping[str, str], at: int) -> dict[str, str]:
        """Copies of the nodes of a cone, reading what is rounded; what each tensor of theirs is called."""
        places = {(name, port): tensor for tensor, read in trial.readers.items() for name, port in read}
        renamed: dict[str, str] = {}
        for node in found.nodes:
            copy = NodeProto()
            copy.CopyFrom(self._originals[node.name])
            for port, name in enumerate(node.inputs):
                tensor = places.get((node.name, port))
                copy.input[port] = rounded[tensor] if tensor is not None else renamed.get(name, name)
            for port, name in enumerate(node.outputs):
                if name:
                    renamed[name] = copy.output[port] = self._name()
            copy.name = self._name()
            self._after.setdefault(at, []).append(copy)
        return renamed

    def _rounded(self, tensor: str, option: Option, limits: tuple[int, int], at: int) -> str:
        scale, zero = float(option.scale), option.zero_point
        source = tensor
        if limits != option.dtype.ends:
            ends = [self._constant(np.float32((end - zero) * scale)) for end in limits]
            source = self._add(at, "Max", self._add(at, "Min", tensor, ends[1]), ends[0])
        held = (self._constant(option.scale), self._constant(np.asarray(zero, option.dtype.name)))
        codes = self._add(at, "QuantizeLinear", source, *held, domain=_MICROSOFT)
        return self._add(at, "DequantizeLinear", codes, *held, domain=_MICROSOFT)

    def _of(self, name: str, at: int) -> tuple[str, str, str]:
        """How many values a tensor has, and by channel their sum and their squares."""
        count = self._add(at, "Cast", self._add(at, "Size", name), to=TensorProto.FLOAT)
        return count, self._reduced("ReduceSum", name, at, name), self._squares(name, at, name)

    def _squares(self, name: str, at: int, like: str) -> str:
        return self._reduced("ReduceSumSquare", name, at, like)

    def _reduced(self, op: str, name: str, at: int, like: str) -> str:
        """`name`, a tensor like `like`, reduced to one number for each channel."""
        tensor = self.view.tensors[like]
        if tensor.dtype not in ("float32", None):
            name = self._add(at, "Cast", name, to=TensorProto.FLOAT)
        axes = _others(tensor.shape)
        if axes is None:
            return self._add(at, op, name, keepdims=0)
        if self.view.opset >= (13 if op == "ReduceSum" else 18):
            return self._add(at, op, name, self._constant(np.asarray(axes, np.int64)), keepdims=0)
        return self._add(at, op, name, axes=axes, keepdims=0)

    def _constant(self, value: NDArray[np.generic] | np.generic) -> str:
        name = self._name()
        self.proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _written(self, tensor: str) -> int:
        node = self.view.producer(tensor)
        return -1 if node is None else node.index

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}/{self._count}"

    def _add(self, at: int, op: str, *sources: str, domain: str = "", **attributes: Any) -> str:
        name = self._name()
        self._after.setdefault(at, []).append(
            helper.make_node(op, sources, [name], name=name, domain=domain, **attributes)
        )
        return name

    def finish(self, outputs: Sequence[str]) -> None:
        merged = list(self._after.get(-1, ()))
        indices = {node.name: node.index for node in self.view.nodes}
        for node in list(self.proto.graph.node):
            merged.append(node)
            merged += self._after.get(indices.get(node.name, -2), ())
        del self.proto.graph.node[:]
        self.proto.graph.node.extend(merged)
        del self.proto.graph.output[:]
        self.proto.graph.output.extend(helper.make_tensor_value_info(o, TensorProto.FLOAT, []) for o in outputs)
        if not any(each.domain == _MICROSOFT for each in self.proto.opset_import):
            self.proto.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))


def _others(shape: Sequence[object] | None) -> list[int] | None:
    """The axes of a tensor but that of its channels: the second of feature maps, the last of what has fewer; None where
    nothing tells."""
    if shape is None or len(shape) < 2:
        return None
    channel = 1 if len(shape) > 3 else len(shape) - 1
    return [axis for axis in range(len(shape)) if axis != channel]
