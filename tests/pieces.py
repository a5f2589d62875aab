"""Some choices as a plan: what the inserter of Q/DQ reads of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pieces:
    tensors: tuple[Any, ...]
    weights: tuple[Any, ...]
    biases: tuple[Any, ...]
    float_biases: tuple[Any, ...] = ()
    recipe: str = "demo"
    mode: str = "static"
