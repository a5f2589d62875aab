"""What verbs print: diagnostics and progress to stderr, results to stdout. Colours and bars only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qdsl.diag import Diagnostic, Severity, render_all

_LARGEST_SOURCE = 1 << 20


def show_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics in full to stderr, then how many there were."""
    found = tuple(diagnostics)
    if not found:
        return
    print(render_all(found, _sources(found)), file=sys.stderr)
    errors = sum(d.severity is Severity.ERROR for d in found)
    if errors:
        print(f"\n{errors} error{'s' if errors > 1 else ''}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Results for machines: one JSON document on stdout, in ASCII, so that no name in it steers a terminal."""
    print(json.dumps(value, indent=2, sort_keys=True))


def diagnostic_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as JSON; the span is null where there is no place."""
    from qdsl.diag.codes import cures

    span = diagnostic.span
    place = None
    if span is not None:
        place = {
            "file": span.file,
            "line": span.line,
            "column": span.column,
            "end_line": span.end_line,
            "end_column": span.end_column,
        }
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "headline": diagnostic.headline,
        "span": place,
        "label": diagnostic.label,
        "help": list(cures(diagnostic)),
        "notes": list(diagnostic.notes),
    }


def on_terminal() -> bool:
    """Whether stderr is a terminal that draws; NO_COLOR and TERM=dumb ask for plain text."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def draws_tables() -> bool:
    """Whether results go to a terminal that draws: tables then have rules and colours."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """A table on a terminal: the first column names the rows, the others are figures; `styles` colour whole rows. Names
    come from untrusted files: they are shown as they are, without markup or control characters."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from qdsl.plan.render import plain

    table = Table(title=Text(plain(title), "bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="right" if at else "left")
    for at, row in enumerate(rows):
        table.add_row(*(Text(plain(cell)) for cell in row), style=styles[at] if styles else None)
    Console(highlight=False).print(table)


def _sources(diagnostics: Iterable[Diagnostic]) -> dict[str, str]:
    """The text of every file that a diagnostic points into, where it still can be read."""
    texts: dict[str, str] = {}
    for name in sorted({d.span.file for d in diagnostics if d.span}):
        path = Path(name)
        try:
            if path.is_file() and path.stat().st_size <= _LARGEST_SOURCE:
                texts[name] = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff")
        except OSError:
            continue
    return texts


def complain(message: str) -> None:
    """A usage error on stderr."""
    print(f"qdsl: {message}", file=sys.stderr)
