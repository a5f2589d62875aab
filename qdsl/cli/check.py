"""`qdsl check RECIPE...`: everything that is wrong with recipes, without their models."""

from __future__ import annotations

import argparse
from typing import Any


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Parse recipes with their bases, look up the names that need no model, and see whether the files "
        "they name exist. What selectors match in the model, `qdsl plan` says."
    )
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="recipe files (.q)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="give a parameter a value")
    parser.add_argument("--no-files", action="store_true", help="do not ask whether models and datasets are there")
    parser.add_argument("--locked", action="store_true", help="hold locks beside recipes against them; needs no data")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Check every recipe; 1 when one has errors, 2 for a malformed --set."""
    from qdsl.cli.output import diagnostic_json, print_json, show_diagnostics
    from qdsl.diag import Severity

    sets = _sets(args.set)
    if sets is None:
        return 2
    results: dict[str, list[Any]] = {}
    failed = False
    for path in args.recipes:
        found = _check(path, sets, with_files=not args.no_files, locked=args.locked)
        wrong = any(d.severity is Severity.ERROR for d in found)
        failed = failed or wrong
        results[path] = [diagnostic_json(d) for d in found]
        if not args.json:
            show_diagnostics(found)
        if not args.json and not wrong:
            print(f"{path}: fine")
    if args.json:
        print_json({"recipes": results})
    return 1 if failed else 0


def _check(path: str, sets: dict[str, str], *, with_files: bool, locked: bool) -> tuple[Any, ...]:
    from qdsl.diag import QdslError
    from qdsl.lang.files import missing_files
    from qdsl.lang.loading import load
    from qdsl.select.precheck import selector_problems
    from qdsl.targets.blocks import block_problems

    try:
        loaded = load(path, sets=sets)
    except QdslError as wrong:
        return wrong.diagnostics
    files = missing_files(loaded.recipe) if with_files else ()
    told = (*loaded.diagnostics, *selector_problems(loaded.recipe), *block_problems(loaded.recipe))
    return (*told, *files, *(_locks(loaded) if locked else ()))


def _locks(loaded: Any) -> tuple[Any, ...]:
    from qdsl.ranges.staleness import lock_problems  # it comes with numpy

    return lock_problems(loaded.recipe)


def _sets(given: list[str]) -> dict[str, str] | None:
    """`NAME=VALUE` words as a mapping; None, said on stderr, when one is malformed."""
    import sys

    sets = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            print(f"--set {word}: expected NAME=VALUE, such as --set bits=int4", file=sys.stderr)
            return None
        sets[name] = value
    return sets
