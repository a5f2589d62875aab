"""Shorthand for the diagnostics of this package: a model has no line numbers, so the file's name opens the headline."""

from __future__ import annotations

from qdsl.diag import Diagnostic, QdslError, Severity


def problem(code: str, headline: str, *help: str, notes: tuple[str, ...] = ()) -> QdslError:
    """The error to raise for one finding."""
    return QdslError([Diagnostic(code, headline, help=help, notes=notes)])


def warning(code: str, headline: str, *help: str, notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code, headline, help=help, notes=notes, severity=Severity.WARNING)


def note(code: str, headline: str, *help: str, notes: tuple[str, ...] = ()) -> Diagnostic:
    return Diagnostic(code, headline, help=help, notes=notes, severity=Severity.NOTE)


def shown(names: list[str], most: int = 5) -> str:
    """A few names for a message: each cut to a readable length, the rest counted."""
    cut = [f"`{name[:80]}`" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(cut) + more
