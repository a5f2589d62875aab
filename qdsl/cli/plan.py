"""`qdsl plan RECIPE`: what the recipe will do to its model, node by node."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdsl.describe.placements import Placements
    from qdsl.diag import Diagnostic


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_recipe, add_target

    parser.description = "Show what a recipe will do: + quantized, ! asked for but stays float (and why), = untouched."
    add_recipe(parser)
    add_target(parser)
    parser.add_argument(
        "--compare", action="store_true", help="how the recipe's targets differ, node by node, and why; all with --json"
    )
    parser.add_argument("--markdown", action="store_true", help="with --compare: as Markdown")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    import qdsl.api
    from qdsl.cli import EXIT_USAGE
    from qdsl.cli.output import complain, diagnostic_json, print_json, show_diagnostics
    from qdsl.describe.render import render
    from qdsl.spec.plan_json import to_json

    if args.markdown and not args.compare:
        complain("--markdown is for --compare")
        return EXIT_USAGE
    result = qdsl.api.plan(args.recipe, target=args.target, sets=dict(args.sets), compare=args.compare)
    if result.placements is not None:
        return _compared(result.placements, result.diagnostics, args)
    if args.json:
        plans = [json.loads(to_json(plan)) for plan in result.plans]
        told = [diagnostic_json(d) for d in result.diagnostics]
        print_json({"plans": plans, "lock": None if result.lock is None else str(result.lock), "diagnostics": told})
        return 0
    show_diagnostics(result.diagnostics)
    for plan in result.plans:
        if len(result.plans) > 1:
            print(f"target {plan.target}")
        lock = result.lock.name if result.lock is not None else ""
        print(render(plan, narrow=sys.stdout.isatty(), lock=lock), end="")
    return 0


def _compared(found: Placements, diagnostics: Sequence[Diagnostic], args: argparse.Namespace) -> int:
    import sys

    from qdsl.cli import EXIT_FINE, EXIT_USAGE
    from qdsl.cli.output import complain, diagnostic_json, print_json, show_diagnostics
    from qdsl.describe.placements_text import as_data, as_markdown, as_text

    if len(found.targets) < 2:
        complain(f"--compare is for recipes of several targets; this one is for {found.targets[0]} alone")
        return EXIT_USAGE
    if args.json:
        print_json({**as_data(found), "diagnostics": [diagnostic_json(each) for each in diagnostics]})
        return EXIT_FINE
    show_diagnostics(diagnostics)
    print(as_markdown(found) if args.markdown else as_text(found, narrow=sys.stdout.isatty()), end="")
    return EXIT_FINE
