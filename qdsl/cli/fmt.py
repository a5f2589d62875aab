"""`qdsl fmt RECIPE...`: recipes in the canonical form."""

from __future__ import annotations

import argparse
from typing import Any


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "Rewrite recipes in the canonical form. Files with syntax errors are left as they are."
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="recipe files (.q)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file would change")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Format every recipe; 1 when one has errors or, under --check, would change."""
    from qdsl.cli.output import diagnostic_json, print_json, show_diagnostics
    from qdsl.diag import QdslError

    results: dict[str, str] = {}
    found: list[Any] = []
    for path in args.recipes:
        try:
            results[path] = _format(path, write=not args.check)
        except QdslError as wrong:
            found += [diagnostic_json(d) for d in wrong.diagnostics]
            if not args.json:
                show_diagnostics(wrong.diagnostics)
            results[path] = "errors"
    if args.json:
        print_json({"recipes": results, "diagnostics": found})
    else:
        words = {"changed": "would change" if args.check else "formatted"}
        lines = [f"{path}: {words[state]}" for path, state in results.items() if state in words]
        print("\n".join(lines), end="\n" if lines else "")
    failing = {"errors", "changed"} if args.check else {"errors"}
    return 1 if failing & set(results.values()) else 0


def _format(path: str, *, write: bool) -> str:
    """`changed` or `same`; raises QdslError when the file cannot be read or has syntax errors."""
    from pathlib import Path

    from qdsl.diag import Diagnostics, QdslError
    from qdsl.lang.files import read
    from qdsl.lang.format import format_text
    from qdsl.lang.write import replace

    diags = Diagnostics()
    content = read(Path(path), None, diags, exact=True)
    if content is None:
        raise QdslError(diags.sorted())
    made = format_text(content, path)
    if made == content:
        return "same"
    if write:
        replace(Path(path), made)
    return "changed"
