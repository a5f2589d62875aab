"""`qdsl plan RECIPE`: what the recipe will do to its model, node by node."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_recipe, add_target

    parser.description = "Show what a recipe will do: + quantized, ! asked for but stays float (and why), = untouched."
    add_recipe(parser)
    add_target(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    import qdsl.api
    from qdsl.cli.output import diagnostic_json, print_json, show_diagnostics
    from qdsl.describe.render import render
    from qdsl.spec.plan_json import to_json

    result = qdsl.api.plan(args.recipe, target=args.target, sets=dict(args.sets))
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
