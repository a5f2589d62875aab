"""What verbs print: diagnostics and progress to stderr, results to stdout. Colours and bars only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdsl.diag import Diagnostic, Severity, render_all

if TYPE_CHECKING:
    from rich.console import Console

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
    come from untrusted files: they are shown as they are, without markup or control characters.

    No figure is ever cut: what is too wide for the terminal stands with rows and columns exchanged, or, where that is
    too wide, too, as lines."""
    from rich.console import Console

    from qdsl.spec.words import plain

    console = Console(highlight=False)
    heads, cells = [plain(head) for head in columns], [[plain(cell) for cell in row] for row in rows]
    if _width(heads, cells) <= console.width:
        _draw(console, plain(title), heads, cells, styles)
        return
    turned = [list(column) for column in zip(*cells, strict=True)]
    across, down = [heads[0], *turned[0]], [[head, *column] for head, column in zip(heads[1:], turned[1:], strict=True)]
    if _width(across, down) <= console.width:
        _draw(console, plain(title), across, down, ())
        return
    print(plain(title))
    for row in cells:
        print(f"  {row[0]}")
        for head, cell in zip(heads[1:], row[1:], strict=True):
            print(f"    {head:<12} {cell}")


_GAP = 3
_FIGURE = 16  # cells up to this wide are figures with a unit, which stay on one line


def _least(head: str, cells: Sequence[str]) -> int:
    """How narrow a column may get: a figure stays whole, a text breaks between words."""
    widest = max(len(cell) for cell in (head, *cells))
    if widest <= _FIGURE:
        return widest
    return max((len(word) for cell in (head, *cells) for word in cell.split()), default=0)


def _width(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    columns = zip(heads, zip(*rows, strict=True), strict=True) if rows else ((head, ()) for head in heads)
    return sum(_least(head, cells) + _GAP for head, cells in columns)


def _draw(
    console: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for at, head in enumerate(heads):
        cells = [row[at] for row in rows]
        least = _least(head, cells)
        whole = least == max(len(cell) for cell in (head, *cells))
        table.add_column(Text(head), justify="right" if at else "left", min_width=least, no_wrap=whole)
    for at, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style=styles[at] if styles else None)
    console.print(table)


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
