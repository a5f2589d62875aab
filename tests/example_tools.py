"""What the tests of the examples share. Modules of examples are imported when they are needed: some import torch."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


def shared(name: str) -> ModuleType:
    """A module of `examples/common`."""
    return import_module(f"examples.common.{name}")


def parameter_count(model: Any) -> int:
    """Elements of all parameters; BatchNorm's running statistics are none."""
    return sum(p.numel() for p in model.parameters())
