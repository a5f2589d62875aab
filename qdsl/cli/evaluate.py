"""`qdsl evaluate RECIPE`: what a build that is there answers, on the recipe's data."""

from __future__ import annotations

import argparse

from qdsl.cli.log import log
from qdsl.cli.measured import add_build, show


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_python

    parser.description = (
        "Carry out the `evaluate` statements of a recipe on the build in OUT/<recipe>/, decide its budgets "
        "and make its report anew."
    )
    add_build(parser)
    add_python(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli.progress import Progress

    with Progress(as_json=args.json) as progress:
        result = qdsl.api.evaluate(
            args.recipe,
            out=args.out,
            sets=dict(args.sets),
            listener=log(progress, as_json=args.json),
            allow_python=args.allow_python,
        )
    return show(result, args)
