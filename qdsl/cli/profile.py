"""`qdsl profile RECIPE`: what a build that is there costs on this machine."""

from __future__ import annotations

import argparse

from qdsl.cli.log import log
from qdsl.cli.measured import add_build, show

_SETTINGS = ("runs", "warmup", "batch", "threads")


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import at_least_one

    parser.description = (
        "Time the float model and the artifacts in OUT/<recipe>/ in turns, decide the budgets and make the report anew."
    )
    add_build(parser)
    parser.add_argument("--runs", type=at_least_one, help="measured runs of each model (default: as the recipe says)")
    parser.add_argument("--warmup", type=at_least_one, help="runs before")
    parser.add_argument("--batch", type=at_least_one, help="samples per run")
    parser.add_argument("--threads", type=at_least_one, help="threads of the runtime")


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli.progress import Progress

    settings = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    with Progress(as_json=args.json) as progress:
        result = qdsl.api.profile(
            args.recipe,
            out=args.out,
            sets=dict(args.sets),
            settings=settings,
            listener=log(progress, as_json=args.json),
        )
    return show(result, args)
