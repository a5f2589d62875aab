"""`qdsl new MODEL.onnx`: a first recipe, from the model's graph and a folder of data; or an example to try."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = (
        "Write a commented recipe for a model: inputs, preprocessing (a guess, marked as such), what stays "
        "in float, and with data what calibrates and evaluates. It plans as it is, and with data it compiles. Nothing "
        "that is there is overwritten."
    )
    parser.usage = "qdsl new MODEL.onnx [--data DIR] [--target T] [--out FILE.q]  |  qdsl new --example NAME [DIR]"
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the float model, or with --example the folder")
    parser.add_argument("--data", metavar="DIR", help="pictures, class folders, a YOLO data.yaml, COCO json, or npz")
    parser.add_argument("--target", default="ort", help="what it is built for (default: ort)")
    parser.add_argument("--out", metavar="FILE", help="where the recipe goes (default: MODEL's name with .q, here)")
    parser.add_argument(
        "--example",
        metavar="NAME",
        help="write an example with its model and data: shapes, or in a clone of the repository cracks, people, steel",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_USAGE
    from qdsl.cli.output import complain, print_json
    from qdsl.spec.words import count, plain

    if args.example is None and args.model is None:
        complain("qdsl new takes a model, or --example and a name")
        return EXIT_USAGE
    if args.example is not None:
        if args.data is not None or (args.model is not None and args.out is not None):
            complain("qdsl new --example takes a name and a folder, nothing else")
            return EXIT_USAGE
        made = qdsl.api.new(example=args.example, out=args.model or args.out)
    else:
        made = qdsl.api.new(args.model, data=args.data, target=args.target, out=args.out)
    if args.json:
        print_json({"recipe": str(made.path), "text": made.text, "files": [str(path) for path in made.files]})
        return 0
    path = plain(str(made.path))
    beside = f", and {count(len(made.files), 'file')} beside it" if made.files else ""
    print(f"{path} written{beside}")
    print(f"next: read it, then `qdsl plan {path}` and `qdsl compile {path}`")
    return 0
