"""Every diagnostic code with its explanation and an example that raises it: what `qdsl explain CODE` shows.

Each part of the product registers its codes in a module of its own; one code in two modules is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from qdsl.diag.model import Diagnostic, Severity

_PARTS = (
    *("lang", "graph", "select", "plan", "data", "target", "lock", "finding", "float16"),
    *("api", "harness", "audit", "diff", "provenance", "tensorrt", "stm32", "engines", "emulated", "train"),
    *("sensitivity", "allocate"),
)


@dataclass(frozen=True, slots=True)
class CodeDoc:
    """One code. `example` is a recipe that raises it; `setup` names what must stand beside the recipe (a truncated
    model, an empty folder: built by the tests), "" when the recipe alone is enough. `verb` is the command that
    raises it, `library` where only a call of the library can. `cure` is the help for a diagnostic that has none of
    its own: one sentence that holds whatever the case."""

    summary: str
    explanation: str
    example: str
    setup: str = ""
    verb: str = "check"
    cure: str = ""


@cache
def all_codes() -> dict[str, CodeDoc]:
    """Every registered code, sorted by name."""
    found: dict[str, CodeDoc] = {}
    for part in _PARTS:
        for code, doc in import_module(f"qdsl.diag.codes.{part}").CODES.items():
            if code in found:
                raise RuntimeError(f"diagnostic code {code} is registered twice")
            found[code] = doc
    return dict(sorted(found.items()))


def cures(diagnostic: Diagnostic) -> tuple[str, ...]:
    """What helps against a diagnostic: its own help, else its code's standing cure; none for a note."""
    if diagnostic.help or diagnostic.severity is Severity.NOTE:
        return diagnostic.help
    doc = all_codes().get(diagnostic.code)
    return (doc.cure,) if doc is not None and doc.cure else ()
