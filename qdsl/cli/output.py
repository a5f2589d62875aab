"""What verbs print: diagnostics and progress to stderr, results to stdout. Colours and bars only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
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
