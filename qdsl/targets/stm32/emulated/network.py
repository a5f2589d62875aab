"""Emitted C together with the integer graph that it computes: samples in, arrays out, held against the golden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.integer.interpret import run as interpret
from qdsl.integer.layout import as_onnx
from qdsl.integer.records import IntegerGraph, Tensor
from qdsl.integer.rounding import Rounding, dequantized
from qdsl.spec.emulated import Emulated, EmulatedStep
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.c.shapes import nbytes
from qdsl.targets.stm32.emulated.building import BuiltC, Limits, build
from qdsl.targets.stm32.emulated.cmsis_nn import Checkout
from qdsl.targets.stm32.emulated.running import RanC, run
from qdsl.targets.stm32.golden import Arrays, given
from qdsl.targets.stm32.holding import Compared, compared, holds


class NetworkStep(Protocol):
    """One step of network.c: the nodes that it computes, and its multiplications."""

    @property
    def nodes(self) -> tuple[str, ...]: ...

    @property
    def macs(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Network:
    """C in `folder`, of `graph`, in these steps. `span` is the place in the recipe that names the model, `library` what
    the C calls."""

    folder: Path
    graph: IntegerGraph
    steps: Sequence[NetworkStep]
    rounding: Rounding = "ort"
    span: Span | None = None
    library: Checkout | None = None

    @property
    def macs(self) -> int:
        return sum(step.macs for step in self.steps)

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of all inputs, and of all outputs."""
        return _bytes(self.graph, self.graph.inputs), _bytes(self.graph, self.graph.outputs)

    def sample(self, arrays: Arrays) -> bytes:
        """What a program reads for a sample: `arrays` in the order and of the types of the ONNX file. Floats become
        integers where the network takes those. Raises QdslError artifact-refused where one is missing, or is
        another."""
        missing = [name for name in self.graph.inputs if name not in arrays]
        try:
            if missing:
                raise ValueError(f"no values for {', '.join(missing)}")
            return b"".join(given(self.graph.tensors[name], arrays[name]).tobytes() for name in self.graph.inputs)
        except ValueError as error:
            headline = "the C does not take this sample"
            raise QdslError([Diagnostic("artifact-refused", headline, self.span, str(error)[:300])]) from None

    def golden(self, sample: bytes) -> bytes:
        """The bytes of all outputs by the interpreter, for those of all inputs."""
        feeds = dict(_arrays(self.graph, self.graph.inputs, sample))
        found = interpret(self.graph, feeds, rounding=self.rounding)
        return b"".join(found[name].tobytes() for name in self.graph.outputs)

    def taken(self, outputs: bytes) -> dict[str, NDArray[Any]]:
        """The outputs by name, in the order of the ONNX file; what integers stand for, in floats."""
        return {
            name: told(self.graph.tensors[name], array)
            for name, array in _arrays(self.graph, self.graph.outputs, outputs)
        }


def told(tensor: Tensor, array: NDArray[Any]) -> NDArray[Any]:
    """A stored array in the order of ONNX, in floats where it is quantized."""
    found = as_onnx(tensor, array)
    return found if tensor.encoding is None else dequantized(found, tensor.encoding)


def emulated(
    network: Network, samples: Iterable[Arrays], core: str = "cortex-m7", limits: Limits | None = None, *, out: Path
) -> Emulated | NotHere:
    """Build the network into `out`, run it on every sample, on zeros where there are none, and hold every output
    against the interpreter's. Raises QdslError artifact-refused, c-invalid, c-too-large, c-differs,
    cmsis-nn-unfit, emulation-failed."""
    built = build(network.folder, out, core, limits, span=network.span, library=network.library)
    if isinstance(built, NotHere):
        return built
    fed = tuple(network.sample(arrays) for arrays in samples) or (bytes(network.sizes[0]),)
    ran = run(built, fed, network.sizes)
    if isinstance(ran, NotHere):
        return ran
    stepped = run(built, fed[:1], network.sizes, steps=True)
    if isinstance(stepped, NotHere):
        return stepped
    return _figures(
        network, built, ran, stepped, held(network, [network.golden(sample) for sample in fed], ran.outputs)
    )


def held(network: Network, golden: Sequence[bytes], found: Sequence[bytes]) -> Compared:
    """Hold the outputs of some samples against the interpreter's: of all together how many values there are, how many
    have the same bits, and how far apart two are at most. Raises QdslError c-differs where they are not."""
    graph, values, exact, apart = network.graph, 0, 0, 0.0
    for one, two in zip(golden, found, strict=True):
        pairs = zip(_arrays(graph, graph.outputs, one), _arrays(graph, graph.outputs, two), strict=True)
        for (name, want), (_, got) in pairs:
            one_output = compared(want, got)
            if not holds(graph, want, one_output):
                raise _differs(network, name, one_output)
            values, exact = values + one_output.values, exact + one_output.exact
            apart = max(apart, one_output.apart)
    return Compared(values, exact, apart)


def _differs(network: Network, name: str, found: Compared) -> QdslError:
    wrong = f"{found.values - found.exact} of {found.values} values"
    headline = f"the C computes `{name[:80]}` otherwise than the integers of the model: {wrong}"
    note = f"they are {found.apart:.2g} of the largest value apart at most"
    return QdslError([Diagnostic("c-differs", headline, network.span, notes=(note,))])


def _figures(network: Network, built: BuiltC, ran: RanC, stepped: RanC, found: Compared) -> Emulated:
    counted = [one for one in ran.instructions if one is not None] or [round(sum(stepped.steps))]
    return Emulated(
        label=built.core.label,
        compiler=f"{built.by}, {ran.by}",
        flash=built.flash,
        ram=built.ram,
        stack=ran.stack,
        instructions=round(fmean(counted)),
        macs=network.macs,
        samples=len(ran.outputs),
        outputs=found.values,
        exact=found.exact,
        apart=found.apart,
        steps=tuple(
            EmulatedStep(step.nodes, max(0, round(taken)), step.macs)
            for step, taken in zip(network.steps, stepped.steps, strict=True)
        ),
    )


def _arrays(graph: IntegerGraph, names: Sequence[str], content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    at = 0
    for name in names:
        tensor = graph.tensors[name]
        array = np.frombuffer(content, tensor.dtype, prod(tensor.shape), at).reshape(tensor.shape)
        at += array.nbytes
        yield name, array


def _bytes(graph: IntegerGraph, names: Sequence[str]) -> int:
    return sum(nbytes(graph.tensors[name]) for name in names)
