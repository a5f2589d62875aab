"""`qdsl report DIR...`: the page about one build, or about several side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.harness.measurements import BuildFacts


def add(verbs: Any) -> None:
    from qdsl.cli.common import add_json

    parser = verbs.add_parser(
        "report",
        help="make the page about a build, or compare several",
        description="Make one HTML file from what `compile` left in build directories: about one build all that is "
        "known, about several a comparison. Nothing is measured.",
    )
    parser.add_argument("directories", nargs="+", metavar="DIR", help="a build directory: build/<recipe>")
    parser.add_argument("--out", metavar="FILE", help="the page (default: DIR/report.html; of several comparison.html)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli.output import print_json
    from qdsl.plan.render import plain

    result = qdsl.api.report(*args.directories, out=args.out)
    if not args.json:
        print(f"{'report':<10} {plain(str(result.path))}")
        return 0
    builds = [
        {"recipe": found.recipe, "targets": {build.target: _target(build) for build in found.builds}}
        for found in result.builds
    ]
    print_json({"path": str(result.path), "builds": builds})
    return 0


def _target(build: BuildFacts) -> dict[str, Any]:
    return {"bytes": build.bytes, "budgets": [{"text": b.text, "verdict": b.verdict} for b in build.budgets]}
