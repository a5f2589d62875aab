"""`qdsl diff A B`: what differs between two recipes, plans, locks or models."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_sets

    parser.description = (
        "Say what B says otherwise than A: nodes in another precision, tensors that gained or lost Q/DQ, scales that "
        "moved, weights, size. Each is a recipe, a plan.json or a build's folder, a lock, or an ONNX model; a path, or "
        "REV:path as git writes it. Nothing is run."
    )
    parser.add_argument("before", metavar="A")
    parser.add_argument("after", metavar="B", nargs="?")
    parser.add_argument("--target", help="only this target")
    add_sets(parser)
    parser.add_argument(
        "--scales", type=_percent, default=0.01, metavar="PERCENT", help="tell scales that move by as much (default: 1)"
    )
    parser.add_argument("--most", type=_most, default=20, metavar="N", help="lines of each kind (default: 20; 0: all)")
    parser.add_argument("--markdown", action="store_true", help="Markdown, for a comment on a code host")
    parser.add_argument("--exit-code", action="store_true", help="exit 1 where there is a difference")
    parser.add_argument("--lines", action="store_true", help="A alone, a fact a line: what git runs after git-setup")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    import qdsl.api
    from qdsl.cli import EXIT_ERRORS, EXIT_FINE, EXIT_USAGE
    from qdsl.cli.output import complain, print_json
    from qdsl.differences import telling

    if args.lines:
        from qdsl.differences.as_lines import as_lines

        print(as_lines(Path(args.before)), end="")
        return EXIT_FINE
    if args.after is None:
        complain("diff takes two sides; `REV:path` names a file at a revision, such as `HEAD:recipes/a.q`")
        return EXIT_USAGE
    result = qdsl.api.diff(args.before, args.after, target=args.target, sets=dict(args.sets), scales=args.scales)
    if args.json:
        print_json({"equal": result.equal, "differences": [telling.as_data(each) for each in result.differences]})
    else:
        show = telling.as_markdown if args.markdown else telling.as_text
        print("\n".join(show(each, args.most) for each in result.differences), end="")
    return EXIT_ERRORS if args.exit_code and not result.equal else EXIT_FINE


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of percent")
    return value / 100


def _most(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text) or 1 << 62
