"""Calls of the library that raise each code of measuring sensitivity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from quantized import model_of, weight

from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.sensitivity.measuring import How, measure
from qdsl.sensitivity.units import Choice, Unit

_NET = "net (float[1, 3, 4, 4] x) => ({}) {{ [conv] c = Conv (x, w) [end] y = {} }}"
_FLOATS = _NET.format("float[1, 4, 4, 4] y", "Relu (c)")
_CLASSES = _NET.format("int64[1, 1, 4, 4] y", "ArgMax <axis = 1> (c)")


def _of(text: str, values: Any, method: str = "sqnr", *choices: Choice) -> object:
    """The sensitivity of a small network on one sample."""
    arrays: Any = SimpleNamespace(
        arrays=lambda index: {"x": values}, flat=set(), file=lambda index: ("x", Path("nowhere"))
    )
    dataset = Dataset("calib", "npz", ("x[0]",), 1, (), (), arrays)
    asked = choices or (Choice("int8", weights=(weight("conv", 1, "w"),)),)
    units = [Unit(("conv",), asked)]
    return measure(model_of(text, w=(4, 3, 1, 1)), units, Ranges({}, {}, 0, 0), dataset, How(method))


def _ones(channels: int = 3, value: float = 1.0) -> Any:
    return np.full((1, channels, 4, 4), value, np.float32)


CALLS: dict[str, Callable[[Path], object]] = {
    "sensitivity-outputs": lambda folder: _of(_CLASSES, _ones()),
    "sensitivity-not-finite": lambda folder: _of(_FLOATS, _ones(value=np.nan)),
    "sensitivity-weights": lambda folder: _of(_FLOATS, _ones(), "gradient", Choice("float32")),
    "sensitivity-run": lambda folder: _of(_FLOATS, _ones(channels=2)),
}
