"""What a diagnostic is, and the report that collects them so that all are raised at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece of a text file. Lines and columns count from 1; the end column is the one after the last character."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.file, self.line, self.column, other.end_line, other.end_column)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a key of `qdsl.diag.codes.CODES`; `headline` makes sense alone on one line.

    `label` stands under the carets (expected and found); `help` are cures, one sentence each.
    """

    code: str
    headline: str
    span: Span | None = None
    label: str = ""
    help: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR


class QdslError(Exception):
    """One or more diagnostics that stop the work."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("; ".join(f"{d.severity.value}[{d.code}]: {d.headline}" for d in self.diagnostics))


class Diagnostics:
    """Collects diagnostics; `raise_errors` raises once, with all of them, when one is an error. What is said without a
    place stands at `span`, that of the thing that all of them are about."""

    def __init__(self, span: Span | None = None) -> None:
        self.span = span
        self._found: dict[Diagnostic, None] = {}  # in the order they came, each once
        self.more = 0  # errors that were counted and not kept

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def has_errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self._found)

    def add(self, diagnostic: Diagnostic) -> None:
        self._found.setdefault(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def error(
        self, code: str, headline: str, span: Span | None = None, *, label: str = "", help: Iterable[str] = ()
    ) -> None:
        self.add(Diagnostic(code, headline, span or self.span, label, tuple(help)))

    def warning(
        self, code: str, headline: str, span: Span | None = None, *, label: str = "", help: Iterable[str] = ()
    ) -> None:
        self.add(Diagnostic(code, headline, span or self.span, label, tuple(help), severity=Severity.WARNING))

    def sorted(self) -> tuple[Diagnostic, ...]:
        """In source order; those without a place come last."""

        def key(d: Diagnostic) -> tuple[int, str, int, int]:
            return (0, d.span.file, d.span.line, d.span.column) if d.span else (1, "", 0, 0)

        return and_more(sorted(self._found, key=key), self.more)

    def raise_errors(self) -> None:
        if self.has_errors:
            raise QdslError(self.sorted())


def and_more(found: Sequence[Diagnostic], more: int) -> tuple[Diagnostic, ...]:
    """`found`; where there were `more` errors, which are not in it, its last one says so."""
    if not found or not more:
        return tuple(found)
    note = f"and {more:,} more error{'s' if more > 1 else ''}"
    return (*found[:-1], replace(found[-1], notes=(*found[-1].notes, note)))


def nearest(word: str, known: Iterable[str], count: int = 2) -> tuple[str, ...]:
    """The `count` known words most like `word`, best first; none when nothing is close.

    Bounded: long words and huge vocabularies are cut before comparing, since both come from untrusted files.
    """
    pool = sorted(set(known))[:5000]
    same = [name for name in pool if name.lower() == word[:200].lower()]
    close = difflib.get_close_matches(word[:200], pool, n=count, cutoff=0.5)
    return tuple(dict.fromkeys((*same, *close)))[:count]
