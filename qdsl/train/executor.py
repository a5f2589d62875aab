"""Runs an ONNX graph in torch, on a CPU or with CUDA, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph import Model
from qdsl.train.call import Call, Results
from qdsl.train.lacks import raise_lacks
from qdsl.train.operation import Operation
from qdsl.train.pairs import DEQUANTIZE, QUANTIZE, TAKES_CARRIED, carries
from qdsl.train.program import Program, Step, program_of, schedule
from qdsl.train.table import OPERATORS
from qdsl.train.types import as_tensor, torch_type

Kernel: TypeAlias = Callable[[Call], Results]
Feed: TypeAlias = Tensor | NDArray[Any]
_Batch: TypeAlias = tuple[int, int] | None  # for how many samples the graph is written, and how many are given

_SCHEDULES = 32  # ways of asking (what is given, what is wanted) whose order of operations is remembered
_PRECISIONS = {False: "float32", True: "float64"}


class Executor:
    """A model that can be run with gradients.

    `parameters` are the float constants by name, those of Constant nodes among them. They are read at each run: assign
    another tensor of the same shape to try another value, one with a history to learn what it was made of.
    `scales` are the constants that learned scales are, each with the names of those that it stands for.
    """

    def __init__(
        self,
        model: Model | ModelProto,
        device: str | torch.device = "cpu",
        learned_scales: bool = False,
        *,
        double: bool = False,
        span: Span | None = None,
    ) -> None:
        """`learned_scales`: gradients reach the scales of QuantizeLinear and DequantizeLinear (LSQ); pairs with two
        equal constants then read the first. `double`: what is float32 is computed in float64. `span` is the place in
        the recipe that asks for it.

        Raises QdslError executor-lacks with everything that it cannot run.
        """
        self._program = program_of(model)
        raise_lacks(self._program, span)
        self._span, self._learned, self._floats = span, learned_scales, _PRECISIONS[double]
        self._device = torch.device(device)
        self._kernels = {one.kind: _kernel(OPERATORS[one.kind].home) for one in self._program.operations}
        self._constants: dict[str, Tensor] = {}
        self.parameters: dict[str, Tensor] = {}
        deciding = _deciding(self._program)
        for name, value in self._program.constants.items():
            tensor = as_tensor(value.load(), torch_type(self._floats))
            # 64 bit integers are shapes and indices: what is computed of them decides what runs
            tensor = tensor if name in deciding or tensor.dtype is torch.int64 else tensor.to(self._device)
            (self.parameters if tensor.is_floating_point() else self._constants)[name] = tensor
        self.scales = self._tied()
        self._plans = lru_cache(_SCHEDULES)(lambda given, wanted: schedule(self._program, given, wanted))

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def inputs(self) -> tuple[str, ...]:
        """The model's inputs."""
        return self._program.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The model's outputs."""
        return self._program.outputs

    def differentiable(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Exactly these parameters ask for a gradient from now on; they are returned by name. Raises ValueError for
        a name that is none of `parameters`."""
        wanted = list(names)
        unknown = [name for name in wanted if name not in self.parameters]
        if unknown:
            raise ValueError(f"no constants of floats: {', '.join(unknown[:5])}")
        for name, tensor in self.parameters.items():
            if tensor.is_leaf:
                tensor.requires_grad_(name in wanted)
        return {name: self.parameters[name] for name in wanted}

    def run(self, feeds: Mapping[str, Feed], wanted: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The tensors called `wanted` (by default the model's outputs), on the executor's device.

        `feeds` are the model's inputs; a tensor within the graph may be given, too, and is then taken as it is, so that
        only what comes after it runs. Integers between QuantizeLinear and DequantizeLinear are returned in their
        type, without a gradient. Where gradients are off (torch.no_grad, or nothing asks for one), a tensor lives
        until its last reader has run.

        Raises ValueError where an input is missing or a name is none of the graph, and QdslError executor-failed
        where a node does not take what it is given.
        """
        asked = self.outputs if wanted is None else tuple(wanted)
        values = {name: self._fed(value) for name, value in feeds.items()}
        batch = self._batch_of(values)
        for step in self._plans(frozenset(values), asked):
            self._step(step, values, batch)
        found = {name: self._result(name, values) for name in asked}
        if batch is not None:
            self._check_samples(found, *batch)
        return found

    def _fed(self, value: Feed) -> Tensor:
        tensor = as_tensor(value, torch_type(self._floats))
        return tensor if tensor.dtype is torch.int64 else tensor.to(self._device)

    def _batch_of(self, values: Mapping[str, Tensor]) -> _Batch:
        """How many samples the graph is written for and how many are given, where these differ."""
        written, firsts = self._program.batch, self._program.firsts
        named = [name for name in values if name in self._program.varying and firsts.get(name) == written]
        given = {values[name].shape[0] for name in named if values[name].dim()}
        if written is None or len(given) != 1 or given == {written}:
            return None
        return written, given.pop()

    def _check_samples(self, found: Mapping[str, Tensor], written: int, given: int) -> None:
        """An output of a graph for one batch size begins with its samples: with others, too, or they were mixed."""
        for name, tensor in found.items():
            if name not in self.outputs or self._program.firsts.get(name) != written:
                continue
            if tensor.shape[:1] != (given,):
                headline = f"output `{name[:80]}` has {tensor.shape[0]} rows of {given} samples: the graph mixes them"
                help = (f"give {written} at a time, as the graph is written",)
                raise QdslError([Diagnostic("executor-failed", headline, self._span, help=help)])

    def _result(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        tensor = self._value(name, values)
        carried = self._program.pairs.carried.get(name)
        found = tensor if carried is None else tensor.detach().to(torch_type(carried))
        return found.to(self._device)

    def _value(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        found = values.get(name)
        if found is None:
            found = self.parameters.get(name)
        return self._constants[name] if found is None else found

    def _step(self, step: Step, values: dict[str, Tensor], batch: _Batch) -> None:
        operation = self._program.operations[step.operation]
        try:
            results = self._kernels[operation.kind](self._call(step.operation, operation, values, batch))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise self._failed(operation, error) from error
        if isinstance(results, Tensor):
            results = (results,)
        for name, result in zip(operation.outputs, results, strict=False):  # those at the end may be left out
            if name and name not in values:
                values[name] = result
        for name in step.gone:
            values.pop(name, None)

    def _call(self, index: int, operation: Operation, values: Mapping[str, Tensor], batch: _Batch) -> Call:
        inputs = [self._value(name, values) if name else None for name in operation.inputs]
        quantizing = operation.kind in QUANTIZE or operation.kind in DEQUANTIZE
        if not quantizing:
            inputs = self._carried(operation, inputs)
            batch = batch if operation.inputs and operation.inputs[0] in self._program.varying else None
            return Call(operation, self._together(operation, inputs), self._floats, batch=batch)
        pairs, port = self._program.pairs, operation.inputs[0]
        end = operation.outputs[0] if operation.kind in QUANTIZE else port
        if self._learned and (tied := pairs.tied.get(operation.inputs[1])):
            inputs[1] = self._value(tied, values)
        kind = pairs.carried.get(end) or self._program.types.get(end) or "int8"
        stored = port in self._program.constants
        straight = index in pairs.straight
        return Call(operation, self._together(operation, inputs), self._floats, kind, straight, self._learned, stored)

    def _carried(self, operation: Operation, inputs: list[Tensor | None]) -> list[Tensor | None]:
        """Integers as the operation takes them: as floats where it only moves them, in their own type elsewhere."""
        carried = self._program.pairs.carried
        kinds = [carried.get(name) for name in operation.inputs]
        if not any(kinds) or operation.kind in TAKES_CARRIED:
            return inputs
        ports, _ = carries(operation)
        moved = next(
            (one for port, one in enumerate(inputs) if port in ports and kinds[port] and one is not None), None
        )
        found: list[Tensor | None] = []
        for port, (tensor, kind) in enumerate(zip(inputs, kinds, strict=True)):
            if tensor is None:
                found.append(None)
            elif port in ports and moved is not None:
                found.append(tensor.to(moved.dtype))
            else:
                found.append(tensor if kind is None else tensor.to(torch_type(kind)))
        return found

    def _together(self, operation: Operation, inputs: list[Tensor | None]) -> tuple[Tensor | None, ...]:
        """On one device, but for inputs of which only numbers are read."""
        if self._device.type == "cpu":
            return tuple(inputs)
        host = OPERATORS[operation.kind].host
        data = [one for port, one in enumerate(inputs) if one is not None and port not in host]
        if all(one.device.type == "cpu" for one in data):
            return tuple(inputs)
        return tuple(one if one is None or port in host else one.to(self._device) for port, one in enumerate(inputs))

    def _tied(self) -> dict[str, tuple[str, ...]]:
        """Learned scales with those that they stand for; {} where none is learned."""
        if not self._learned:
            return {}
        tied = self._program.pairs.tied
        found: dict[str, list[str]] = {}
        for one in self._program.operations:
            name = one.inputs[1] if one.kind in QUANTIZE or one.kind in DEQUANTIZE else ""
            if name in self.parameters and name not in found.setdefault(tied.get(name, name), []):
                found[tied.get(name, name)].append(name)
        return {name: tuple(others) for name, others in found.items()}

    def _failed(self, operation: Operation, error: Exception) -> QdslError:
        said = " ".join(str(error).split())[:200]
        headline = f"`{operation.name[:80]}` ({operation.op}) does not take what it is given: {said}"
        help = ("give inputs of the model's shapes; a graph may hold for one batch size alone",)
        return QdslError([Diagnostic("executor-failed", headline, self._span, help=help)])


def _deciding(program: Program) -> set[str]:
    """Constants of which numbers are read, and nothing else is computed with."""
    read: dict[str, bool] = {}
    for one in program.operations:
        for port, name in enumerate(one.inputs):
            read[name] = read.get(name, True) and port in OPERATORS[one.kind].host
    return {name for name, only in read.items() if only}


def _kernel(home: str) -> Kernel:
    module, name = home.split(":")
    found: Kernel = getattr(import_module(f"qdsl.train.kernels.{module}"), name)
    return found
