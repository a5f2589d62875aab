"""`qdsl passes`: the rewrite passes, in the order they run."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = "List the rewrite passes."
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from qdsl.cli.output import print_json
    from qdsl.passes.index import ENTRIES

    if args.json:
        print_json([{"name": entry.name, "summary": entry.summary} for entry in ENTRIES])
        return 0
    width = max(len(entry.name) for entry in ENTRIES)
    for entry in ENTRIES:
        print(f"{entry.name:{width}}  {entry.summary}")
    return 0
