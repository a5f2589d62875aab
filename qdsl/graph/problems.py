"""Shorthand for the diagnostics of loading, when there is no Model yet: a model has no line numbers, so the file's name
opens the headline, and `span` is the place in the recipe that names the file (None where none does)."""

from __future__ import annotations

from qdsl.diag import Diagnostic, QdslError, Severity, Span


def problem(span: Span | None, code: str, headline: str, *help: str, notes: tuple[str, ...] = ()) -> QdslError:
    """The error to raise for one finding."""
    return QdslError([Diagnostic(code, headline, span, help=help, notes=notes)])


def warning(span: Span | None, code: str, headline: str, *help: str) -> Diagnostic:
    return Diagnostic(code, headline, span, help=help, severity=Severity.WARNING)


def note(span: Span | None, code: str, headline: str, *help: str) -> Diagnostic:
    return Diagnostic(code, headline, span, help=help, severity=Severity.NOTE)


def shown(names: list[str], most: int = 5) -> str:
    """A few names for a message: each cut to a readable length, the rest counted."""
    cut = [f"`{name[:80]}`" for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(cut) + more
