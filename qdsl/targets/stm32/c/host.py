"""Compile emitted C with the compiler of this computer, and run it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import IntegerGraph, Tensor
from qdsl.targets.stm32.c.shapes import nbytes
from qdsl.targets.stm32.c.writing import PROJECT, CStep

# Without the first two the C is another one: a fused multiplication and addition rounds once instead of twice.
UNFIT = 4  # exit status where a library asks for more scratch than it is given
FLAGS = ("-std=c11", "-ffp-contract=off", "-O2")
SECONDS = 300.0

Arrays = Mapping[str, NDArray[Any]]


def compiler() -> str | None:
    """The C compiler of this computer, if there is one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@dataclass(frozen=True, slots=True)
class Ran:
    """Per sample: the outputs by name, and, where they were asked for, what the steps wrote."""

    outputs: list[dict[str, NDArray[Any]]]
    steps: list[dict[str, NDArray[Any]]]


def build(
    folder: Path,
    program: Path,
    *,
    cc: str,
    more: Sequence[str] = (),
    trace: bool = False,
    linked: Sequence[str] = (),
) -> str:
    """Compile network.c of `folder` with a frame that reads samples, and what is `linked`; returns the compiler's
    warnings.

    Raises subprocess.CalledProcessError with its text where it refuses."""
    words = [cc, *FLAGS, *more, f"-I{folder}", *(["-include", str(PROJECT / "host.h")] if trace else [])]
    done = subprocess.run(
        [*words, str(folder / "network.c"), str(PROJECT / "host.c"), *linked, "-o", str(program)],
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.stderr


def run(program: Path, graph: IntegerGraph, samples: Sequence[Arrays], steps: Sequence[CStep] = ()) -> Ran:
    """The outputs for each sample, stored arrays by name; of a program built with `trace` what `steps`, all of them,
    wrote, too.

    Raises subprocess.CalledProcessError where the program ends otherwise than well."""
    inputs, outputs, wanted, traces = (program.with_suffix(f".{kind}") for kind in ("in", "out", "wanted", "traces"))
    data = (np.ascontiguousarray(sample[name]).tobytes() for sample in samples for name in graph.inputs)
    inputs.write_bytes(b"".join(data))
    words = [str(program), str(inputs), str(outputs)]
    if steps:
        table = [(step.at, nbytes(graph.tensors[step.output])) for step in steps]
        wanted.write_bytes(np.array(table, np.uint32).tobytes())
        words += [str(wanted), str(traces)]
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS)
    names = [step.output for step in steps]
    stepped = _split(traces.read_bytes(), graph, names, len(samples)) if steps else []
    return Ran(_split(outputs.read_bytes(), graph, graph.outputs, len(samples)), stepped)


def _split(data: bytes, graph: IntegerGraph, names: Sequence[str], samples: int) -> list[dict[str, NDArray[Any]]]:
    found = []
    at = 0
    for _ in range(samples):
        arrays = {}
        for name in names:
            tensor = graph.tensors[name]
            arrays[name] = _array(data, at, tensor)
            at += nbytes(tensor)
        found.append(arrays)
    if at != len(data):
        raise ValueError(f"{len(data)} bytes of outputs where {at} were due")
    return found


def _array(data: bytes, at: int, tensor: Tensor) -> NDArray[Any]:
    return np.frombuffer(data, tensor.dtype, prod(tensor.shape), at).reshape(tensor.shape)
