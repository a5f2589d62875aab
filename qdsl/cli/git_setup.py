"""`qdsl git-setup`: let `git diff` show what a change of a recipe, a lock or a model means."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Let `git diff` show recipes, locks and ONNX models by what they mean: adds `diff=qdsl` lines to "
        ".gitattributes, to be committed, and the driver to this clone's own configuration. Once more changes nothing."
    )
    parser.add_argument("folder", nargs="?", default=".", help="a folder of the repository (default: this one)")
    parser.add_argument("--json", action="store_true", help="what was done as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli.output import print_json

    found = qdsl.api.git_setup(args.folder)
    if args.json:
        print_json({"root": str(found.root), "added": list(found.added), "command": found.command})
        return 0
    file = found.root / ".gitattributes"
    print(f"{file}: {'added ' + ', '.join(found.added) if found.added else 'as it should be'}")
    print(f"git diff runs `{found.command}` on them in this clone")
    if found.added:
        print("commit .gitattributes; others who clone the repository run `qdsl git-setup` once")
    return 0
