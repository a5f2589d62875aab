"""ONNX load, save, edit and view. Importing the package loads neither numpy nor onnx; its names are fetched on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.graph.finite import non_finite_constants
    from qdsl.graph.limits import Limits
    from qdsl.graph.loading import from_proto, load
    from qdsl.graph.model import Model
    from qdsl.graph.saving import save, to_bytes, to_proto
    from qdsl.graph.upgrading import upgrade_opset

__all__ = [
    "Limits",
    "Model",
    "from_proto",
    "load",
    "non_finite_constants",
    "save",
    "to_bytes",
    "to_proto",
    "upgrade_opset",
]

_HOME = {
    "Limits": "limits",
    "Model": "model",
    "from_proto": "loading",
    "load": "loading",
    "non_finite_constants": "finite",
    "save": "saving",
    "to_bytes": "saving",
    "to_proto": "saving",
    "upgrade_opset": "upgrading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    found = globals()[name] = getattr(module, name)
    return found
