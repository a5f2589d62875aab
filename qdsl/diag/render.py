"""Diagnostics as text: carets under the source line, or one line for logs and editors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from qdsl.diag.codes import cures
from qdsl.diag.model import Diagnostic, Span

_TAB = "    "
_WIDEST = 160


def one_line(diagnostic: Diagnostic) -> str:
    """`file:line:col: error[code]: headline (label)`."""
    place = f"{diagnostic.span}: " if diagnostic.span else ""
    label = f" ({diagnostic.label})" if diagnostic.label else ""
    return _plain(f"{place}{diagnostic.severity.value}[{diagnostic.code}]: {diagnostic.headline}{label}")


def render(diagnostic: Diagnostic, sources: Mapping[str, str]) -> str:
    """The full form, with the source line and carets where `sources` has the file's text."""
    lines = [f"{diagnostic.severity.value}[{diagnostic.code}]: {diagnostic.headline}"]
    if diagnostic.span is not None:
        lines += _place(diagnostic.span, diagnostic.label, sources)
    elif diagnostic.label:
        lines.append(f"  = {diagnostic.label}")
    lines += [f"note: {note}" for note in diagnostic.notes]
    lines += [f"help: {cure}" for cure in cures(diagnostic)]
    return "\n".join(_plain(line) for line in lines)


def render_all(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> str:
    """Every diagnostic in full, an empty line between two."""
    return "\n\n".join(render(d, sources) for d in diagnostics)


def _place(span: Span, label: str, sources: Mapping[str, str]) -> list[str]:
    gutter = " " * len(str(span.line))
    lines = [f"{gutter}--> {span}"]
    text = sources.get(span.file)
    if text is None:
        return lines + ([f"{gutter} = {label}"] if label else [])
    rows = _rows(text)
    source = rows[span.line - 1].rstrip("\r") if span.line <= len(rows) else ""
    before, marked, shown = _cut(source, span)
    carets = " " * len(before) + "^" * max(1, len(marked))
    lines += [f"{gutter} |", f"{span.line} | {shown}", f"{gutter} | {carets} {label}".rstrip()]
    return lines


@lru_cache(maxsize=4)
def _rows(text: str) -> tuple[str, ...]:
    """The lines of a text, split once for all that is wrong in it."""
    return tuple(text.split("\n"))


def _cut(source: str, span: Span) -> tuple[str, str, str]:
    """The text before the carets, the text under them, and the line to show, cut around the carets when endless."""
    start = span.column - 1
    end = span.end_column - 1 if span.end_line == span.line else len(source)
    first = max(0, start - _WIDEST // 2)
    last = first + _WIDEST
    shown = _plain(source[first:last])
    before = _plain(source[first:start])
    marked = _plain(source[start : min(end, last)])
    return before, marked, shown


def _plain(text: str) -> str:
    """Tabs as spaces and control characters as `?`: recipes, models and paths must not steer the reader's terminal."""
    return "".join(c if c.isprintable() else "?" for c in text.replace("\t", _TAB))
