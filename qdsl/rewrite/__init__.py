"""Passes: their contract, the facts they promise, the runner and the canonical pipeline."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qdsl.rewrite.contract import Changes, ContractError, Fired, Outcome, Pass, Refused, Rewrite, Step, Trace

if TYPE_CHECKING:
    from qdsl.rewrite.pipeline import CANONICAL, canonicalise
    from qdsl.rewrite.runner import run

__all__ = [
    "CANONICAL",
    "Changes",
    "ContractError",
    "Fired",
    "Outcome",
    "Pass",
    "Refused",
    "Rewrite",
    "Step",
    "Trace",
    "canonicalise",
    "run",
]

# Fetched on use: they load numpy and onnx.
_HOME = {"CANONICAL": "pipeline", "canonicalise": "pipeline", "run": "runner"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
