"""What is known of where the error of a quantized file comes from, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isinf
from pathlib import Path

from qdsl.spec.bounds import Figure

Heard = Callable[[str, int, int], None]


def silent(text: str, done: int, total: int) -> None:
    """Heard by nobody."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How causes are looked for: on so many `samples`, None for as many as the outputs ask for; `floats` is the file of
    the float model that the quantized one was made from, None where none is named; `heard` is told of runs, done of
    all."""

    samples: int | None = None
    floats: Path | None = None
    heard: Heard = silent


@dataclass(frozen=True, slots=True)
class Cure:
    """A change that was tried. `lines` are what a recipe says of it; `tried` says how ("in this file", "built anew with
    it"); `after_db` is the error of the outputs with it, `gain_db` how much less than without."""

    lines: tuple[str, ...]
    tried: str
    after_db: Figure | None
    gain_db: Figure


@dataclass(frozen=True, slots=True)
class Cause:
    """One quantized tensor and what its rounding costs, in dB of signal to noise: 10 log10(sum x^2 / sum (x - y)^2).

    `role` is "activation", "weight" or "bias"; `node` writes an activation ("" for a graph input) and reads a weight
    or a bias. `also` are tensors that are rounded together with it, such as the parts of a Concat of one scale: they
    are one cause, told of the tensor that loses most.

    Inside the graph: `own_db` is the error that its rounding alone adds to the float model's value, `inherited_db` that
    of the value which arrives in the quantized model before it is rounded here (None for weights, which inherit
    nothing).

    At the outputs, where `measured`: `alone_db` with only this tensor quantized, `without_db` with everything quantized
    but this one, `gain_db` what that gains; None where they cannot be compared. `share` is how much of the noise at the
    outputs is its own: the mean of what it adds to a model that is float otherwise, and of what leaving it out takes
    from the quantized one. Either alone misleads where errors cancel out or hide each other. Over 1 where others
    cancel part of it, below 0 where it cancels part of theirs."""

    tensor: str
    role: str
    node: str
    own_db: Figure | None
    inherited_db: Figure | None
    also: tuple[str, ...] = ()
    alone_db: Figure | None = None
    without_db: Figure | None = None
    gain_db: Figure | None = None
    share: Figure | None = None
    measured: bool = False
    cure: Cure | None = None


@dataclass(frozen=True, slots=True)
class Causes:
    """Measured with ONNX Runtime, every node by itself, on `samples` of `source` (a dataset's name, or "drawn inputs").

    `outputs_db` is the error of the outputs with everything quantized; of several outputs, and of the parts that a
    Concat joins to one, it is the mean of their noise over signal. `causes` are sorted by what would help: by
    `share`, then those that were not tried at the outputs by how much their rounding loses inside. `tried` of them
    were tried there, in `runs` runs in all. `left_out` are quantized tensors that nothing can be said of, each with
    why; `notes` what else bears on the figures."""

    source: str
    samples: int
    outputs: tuple[str, ...]
    outputs_db: Figure | None
    causes: tuple[Cause, ...]
    tried: int
    runs: int
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def gain(base: float | None, changed: float | None) -> float | None:
    """What a change gains in dB: infinite where it alone makes the outputs equal or comparable, None where it does not
    make them comparable."""
    if changed is None:
        return None
    if base is None:
        return inf
    return 0.0 if base == changed else changed - base


def share(base: float | None, alone: float | None, without: float | None) -> float:
    """How much of the noise of the outputs is due to one tensor: see `Cause`. The arguments are in dB, None for outputs
    that cannot be compared, whose noise is taken as without bound."""
    whole, added, left = _noise(base), _noise(alone), _noise(without)
    if whole == 0.0:
        return 0.0
    if isinf(whole):
        return 0.5 * ((0.0 if isinf(left) else 1.0) + (1.0 if isinf(added) else 0.0))
    return 0.5 * ((whole - left) / whole + added / whole)


def _noise(decibels: float | None) -> float:
    """Noise over signal."""
    return inf if decibels is None else 10.0 ** (-decibels / 10.0)
