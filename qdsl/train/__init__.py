"""ONNX graphs in torch, with gradients: what sensitivities, rounding and training are computed with.

Importing the package loads neither torch nor numpy nor onnx; torch is loaded where an executor is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.train.executor import Executor
    from qdsl.train.lacks import Lack, lacking

__all__ = ["Executor", "Lack", "lacking"]

_HOME = {"Executor": "executor", "Lack": "lacks", "lacking": "lacks"}


def __getattr__(name: str) -> Any:
    """Raises QdslError torch-absent for the executor where torch is not installed."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Executor":
        import_module(f"{__name__}.extra").require_torch()
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return found
