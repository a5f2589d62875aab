"""Every diagnostic code with its explanation and an example that raises it: what `qdsl explain CODE` shows.

Each part of the product registers its codes in a module of its own; one code in two modules is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

_PARTS = ("lang", "graph", "select", "plan", "data", "target", "api")


@dataclass(frozen=True, slots=True)
class CodeDoc:
    """One code. `example` is a recipe that raises it; `setup` names what must stand beside the recipe (a truncated
    model, an empty folder: built by the tests), "" when the recipe alone is enough. `verb` is the command that
    raises it, `library` where only a call of the library can."""

    summary: str
    explanation: str
    example: str
    setup: str = ""
    verb: str = "check"


def all_codes() -> dict[str, CodeDoc]:
    """Every registered code, sorted by name."""
    found: dict[str, CodeDoc] = {}
    for part in _PARTS:
        for code, doc in import_module(f"qdsl.diag.codes.{part}").CODES.items():
            if code in found:
                raise RuntimeError(f"diagnostic code {code} is registered twice")
            found[code] = doc
    return dict(sorted(found.items()))
