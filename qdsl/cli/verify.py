"""`qdsl verify BUILD`: whether an artifact computes what its graph says, here and on other processors, emulated."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from qdsl.cli.measured import line

if TYPE_CHECKING:
    from qdsl.api import VerifyResult


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_on, add_sets, at_least_one

    parser.description = (
        "Run the artifacts of a build as they run by default against the same files without the runtime's "
        "optimizations and against the graph's own arithmetic, and count the integer kernels. Nothing is timed."
    )
    parser.add_argument("build", help="a build's folder, build/<recipe>, or a recipe whose build is in OUT/<recipe>/")
    add_on(parser)
    add_sets(parser)
    parser.add_argument("--out", default="build", help="where builds of recipes are (default: build)")
    parser.add_argument("--samples", type=at_least_one, help="samples to run (default: all, emulated 4)")
    parser.add_argument("--strict", action="store_true", help="exit 4 for a warning, too")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_BUDGET
    from qdsl.cli.log import log
    from qdsl.cli.output import print_json, show_diagnostics
    from qdsl.cli.progress import Progress

    with Progress(as_json=args.json) as progress:
        result = qdsl.api.verify(
            args.build,
            on=args.on,
            out=args.out,
            sets=dict(args.sets),
            samples=args.samples,
            listener=log(progress, as_json=args.json),
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        line("compiled", f"on {result.compiled_on or 'an unknown instruction set'}")
    return EXIT_BUDGET if args.strict and not result.holds else 0


def _as_json(result: VerifyResult) -> dict[str, Any]:
    from qdsl.cli.checked import check_json
    from qdsl.cli.output import diagnostic_json

    return {
        "recipe": result.recipe,
        "directory": str(result.directory),
        "holds": result.holds,
        "compiled_on": result.compiled_on,
        "checks": [check_json(found) for found in result.checks],
        "diagnostics": [diagnostic_json(each) for each in result.diagnostics],
    }
