"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
from typing import Any


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


def add_python(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-python", action="store_true", help="run code that the recipe names (`decode python`)")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def add_on(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        metavar="CPU",
        nargs="+",
        action=_Names,
        default=[],
        help="run the artifacts as these processors by emulation (qemu), never for speed: haswell, cortex-a76, "
        "cortex-a72, cortex-a53",
    )


class _Names(argparse.Action):
    """Words with commas or blanks between them, as one list; what is said again is added."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        found = [name for word in values for name in word.split(",") if name]
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *found])


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
