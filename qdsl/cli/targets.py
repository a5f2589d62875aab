"""`qdsl targets [NAME]`: the targets there are, and one target's table."""

from __future__ import annotations

import argparse
import textwrap

_OPS = 36  # columns for the operators of a row


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = "List the targets, or show the table of one: what it runs in integers, and how that is known."
    parser.add_argument("name", nargs="?", help="show this target's table")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from qdsl.cli.output import print_json
    from qdsl.targets import listing

    if args.name is None:
        found = listing.available()
        if args.json:
            print_json([{"name": t.name, "title": t.title, "table": t.table} for t in found])
            return 0
        for target in found:
            print(f"{target.name:8} {target.title}   table {target.table}.toml, {target.evidence}")
        return 0
    rows = listing.rows(args.name)
    if args.json:
        print_json(
            [
                {"row": r.name, "ops": list(r.ops), "kind": r.kind, "kernel": r.kernel, "because": r.because}
                for r in rows
            ]
        )
        return 0
    name_width, kind_width = max(len(r.name) for r in rows), max(len(r.kind) for r in rows)
    for row in rows:
        ops, *more = textwrap.wrap(", ".join(row.ops), _OPS)
        print(f"{row.name:{name_width}}  {row.kind:{kind_width}}  {ops:{_OPS}}  {row.because}")
        for line in more:
            print(f"{'':{name_width}}  {'':{kind_width}}  {line}")
    return 0
