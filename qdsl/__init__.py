"""qdsl: recipes in, quantized and audited ONNX models out.

Each verb is a call: `qdsl.check("recipe.q").ok`, `qdsl.fmt(text)`, `qdsl.plan("recipe.q").plans`,
`qdsl.explain("recipe.q", "/conv1/Conv")`, `qdsl.compile("recipe.q").targets`, `qdsl.evaluate("recipe.q").evaluations`,
`qdsl.profile("recipe.q").profiles`, `qdsl.verify("build/recipe").checks`, `qdsl.report("build/recipe").path`,
`qdsl.sweep(["recipe.q"]).cells`, `qdsl.new("model.onnx").path`. See `qdsl.api` for what they return.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qdsl.version import __version__

if TYPE_CHECKING:
    from qdsl.api import check, compile, evaluate, explain, fmt, new, plan, profile, report, sweep, verify

__all__ = [
    "__version__",
    "check",
    "compile",
    "evaluate",
    "explain",
    "fmt",
    "new",
    "plan",
    "profile",
    "report",
    "sweep",
    "verify",
]

# In a source checkout passes/, grammars/ and recipes/ stand beside this directory; installed, they are inside it.
if not (Path(__path__[0]) / "passes").is_dir():
    __path__.append(str(Path(__path__[0]).parent))

# From 1.29 on ONNX Runtime tells its makers which models are run, where this is not set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_CALLS = ("check", "compile", "evaluate", "explain", "fmt", "new", "plan", "profile", "report", "sweep", "verify")
# Verbs that share their name with a package of ours: the package itself is callable.
_ALSO_PACKAGES = ("plan", "report")


class _Verb(ModuleType):
    """A package that is a verb, too: `qdsl.plan(...)` calls `qdsl.api.plan`, `qdsl.spec.plan` is its module."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return getattr(import_module("qdsl.api"), self.__name__.rpartition(".")[2])(*args, **settings)


class _Package(ModuleType):
    """This package: importing `qdsl.plan` binds its module here, and then the name must still be callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ALSO_PACKAGES and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """The library calls, fetched on use: `import qdsl` alone loads nothing heavy."""
    if name in _ALSO_PACKAGES:
        return import_module(f"qdsl.{name}")
    if name in _CALLS:
        return getattr(import_module("qdsl.api"), name)
    raise AttributeError(f"module 'qdsl' has no attribute {name!r}")
