"""Arguments that several verbs share."""

from __future__ import annotations

import argparse


def add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="the recipe, a .q file")
    add_sets(parser)


def add_sets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="sets",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_pair,
        help="give a `param` its value",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", help="only this one of the recipe's targets")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return number
