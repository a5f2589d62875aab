"""qdsl: recipes in, quantized and audited ONNX models out.

Each verb is a call: `qdsl.check("recipe.q").ok`, `qdsl.plan("recipe.q").plans`, `qdsl.compile("recipe.q").targets`.
`qdsl.verbs` lists them all. They raise `qdsl.diag.QdslError` with every diagnostic where recipe, model or data have
errors.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from qdsl.verbs import HOMES
from qdsl.version import __version__ as __version__

if TYPE_CHECKING:
    from qdsl.api import *
else:
    __all__ = ["__version__", *sorted(HOMES)]

    def __getattr__(name: str) -> Any:
        """Calls and results, fetched on use: `import qdsl` alone loads nothing heavy."""
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("qdsl.api"), name)


# In a source checkout passes/, grammars/ and recipes/ stand beside this directory; installed, they are inside it.
if not os.path.isdir(os.path.join(__path__[0], "passes")):
    __path__.append(os.path.dirname(__path__[0]))

# From 1.29 on ONNX Runtime tells its makers which models are run, where this is not set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class _Verb(ModuleType):
    """A package with the name of a verb, as which it can be called: `qdsl.plan(...)` is `qdsl.api.plan(...)`."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return getattr(import_module("qdsl.api"), self.__name__.rpartition(".")[2])(*args, **settings)


class _Package(ModuleType):
    """This package: importing `qdsl.plan` binds that package here, and then the name must still be callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in HOMES and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
