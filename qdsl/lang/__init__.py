"""The recipe language: text -> syntax tree -> recipe, and text -> canonical text. No model is looked at here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.lang.files import missing_files
    from qdsl.lang.format import format_text
    from qdsl.lang.loading import Loaded, load, loads, require_complete

__all__ = ["Loaded", "format_text", "load", "loads", "missing_files", "require_complete"]

# Loaded on use: who only needs the types of a recipe should not pay for a parser.
_HOME = {
    "Loaded": "loading",
    "load": "loading",
    "loads": "loading",
    "require_complete": "loading",
    "missing_files": "files",
    "format_text": "format",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
