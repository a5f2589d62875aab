"""What a line of a recipe names, such as a model or a dataset: what is found wrong with it stands there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qdsl.diag.model import Diagnostic, QdslError, Severity, Span


class Placed:
    """Something with the place that named it, None where no recipe did. Only what is about the thing itself is made
    here: a file that cannot be written has nothing to do with the line that names the model."""

    span: Span | None

    def diagnostic(
        self,
        code: str,
        headline: str,
        *,
        label: str = "",
        help: Iterable[str] = (),
        notes: Iterable[str] = (),
        severity: Severity = Severity.ERROR,
    ) -> Diagnostic:
        """A finding about this thing, at its place."""
        return Diagnostic(code, headline, self.span, label, tuple(help), tuple(notes), severity)

    def error(
        self, code: str, headline: str, *, label: str = "", help: Iterable[str] = (), notes: Iterable[str] = ()
    ) -> QdslError:
        """The error to raise for one finding about this thing."""
        return QdslError([self.diagnostic(code, headline, label=label, help=help, notes=notes)])

    def errors(self, found: Iterable[Diagnostic]) -> QdslError:
        """The error to raise for what was found by those who know this thing's values only: at its place, but for what
        has one of its own."""
        return QdslError(each if each.span else replace(each, span=self.span) for each in found)
