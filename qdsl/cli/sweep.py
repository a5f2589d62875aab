"""`qdsl sweep RECIPE ..`: every recipe with every value of its parameters, and one table of what came out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api.sweeping import CellResult, SweepResult


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_python, add_sets, at_least_one

    parser.description = (
        "Compile every recipe with every combination of its parameters' values to OUT/<cell>/. What is "
        "done and did not change is kept."
    )
    parser.add_argument("recipes", nargs="+", help="recipes, .q files")
    add_sets(parser)
    parser.add_argument("--out", default="build/sweep", help="where the builds go (default: build/sweep)")
    parser.add_argument(
        "--jobs", type=at_least_one, default=1, help="cells at a time (default 1: they disturb one another's latency)"
    )
    parser.add_argument("--engine", default="local", help="local (processes of this machine, the default) or ray")
    add_python(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import sys

    import qdsl.api
    from qdsl.cli import EXIT_BUDGET, EXIT_ERRORS
    from qdsl.cli.output import print_json

    def heard(result: CellResult, done: int, total: int) -> None:
        print(f"{done}/{total}  {result.status:<6}  {result.cell.name}", file=sys.stderr)

    found = qdsl.api.sweep(
        args.recipes,
        out=args.out,
        sets=dict(args.sets),
        jobs=args.jobs,
        how=args.engine,
        listener=heard,
        allow_python=args.allow_python,
    )
    if args.json:
        print_json({"directory": str(found.directory), "cells": [_as_json(cell) for cell in found.cells]})
    else:
        _print(found)
    if found.failed:
        return EXIT_ERRORS
    return 0 if found.holds else EXIT_BUDGET


def _print(found: SweepResult) -> None:
    """A line per cell and target: size, and each figure that its recipe asks for, with the drop where there is one."""
    from qdsl.spec.words import mebibytes, plain

    width = max(len(cell.cell.name) for cell in found.cells)
    for cell in found.cells:
        measured = cell.measurements
        if measured is None:
            print(plain(f"{cell.cell.name:<{width}}   failed: {cell.reason}"))
            continue
        for target, build in measured["builds"].items():
            told = [mebibytes(build["bytes"]), *_figures(measured, target)]
            told += [] if cell.holds else ["a budget is BROKEN"]
            print(plain(f"{cell.cell.name:<{width}}   {target}   {'   '.join(told)}"))


def _figures(measured: dict[str, Any], target: str) -> list[str]:
    told = []
    for evaluation in measured["evaluations"]:
        build = evaluation["builds"].get(target)
        if build is None or evaluation["condition"]:
            continue
        for name in evaluation["asked"]:
            value, drop = build["scores"].get(name), build["drops"].get(name)
            if isinstance(value, float | int):
                lost = f" (drop {100 * drop['value']:.2f} pp)" if drop and not isinstance(drop["value"], str) else ""
                told.append(f"{name} {value:.4f}{lost}")
    for profile in measured["profiles"]:
        if profile["target"] == target:
            told.append(f"p50 {1e3 * profile['builds'][target]['latency']['p50']:.2f} ms")
    return told


def _as_json(cell: CellResult) -> dict[str, Any]:
    return {
        "name": cell.cell.name,
        "recipe": str(cell.cell.recipe),
        "sets": dict(cell.cell.sets),
        "status": cell.status,
        "holds": cell.holds,
        "reason": cell.reason,
        "directory": str(cell.directory),
        "measurements": cell.measurements,
    }
