"""Passes: their contract, the facts that hold between them, and the runner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qdsl.rewrite.contract import (
    Changes,
    ContractError,
    Fact,
    Fired,
    Outcome,
    PairsPlan,
    Pass,
    PlanFact,
    Refused,
    Rewrite,
    Step,
    Trace,
)

if TYPE_CHECKING:
    from qdsl.rewrite.runner import run

__all__ = [
    "Changes",
    "ContractError",
    "Fact",
    "Fired",
    "Outcome",
    "PairsPlan",
    "Pass",
    "PlanFact",
    "Refused",
    "Rewrite",
    "Step",
    "Trace",
    "run",
]

# Fetched on use: it loads numpy and onnx.
_HOME = {"run": "runner"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
