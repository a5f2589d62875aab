"""`qdsl doctor`: which targets can be built, checked, run or only emitted on this machine, and how to get the rest."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import DoctorResult
    from qdsl.api.doctoring import Machine
    from qdsl.spec.abilities import Ability


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = (
        "Say which targets can be emitted, checked, built, run and measured on this machine, by what, and how to get "
        "the rest. Installs nothing. Exits 1 where something that is installed does not work."
    )
    parser.add_argument("--target", metavar="NAME", help="this target alone")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_ERRORS
    from qdsl.cli.output import print_json

    result = qdsl.api.doctor(args.target)
    if args.json:
        print_json(_as_json(result))
    else:
        print("\n".join(_lines(result)))
    return 0 if result.holds else EXIT_ERRORS


def _lines(result: DoctorResult) -> Iterator[str]:
    from qdsl.spec.words import plain

    yield plain(f"machine   {_machine(result.machine)}")
    for target in result.targets:
        yield ""
        yield plain(f"{target.name}   {target.title}")
        yield from _table([(deed, ability.why, ability) for deed, ability in target.abilities.items()])
    if result.extras:
        yield ""
        yield "beside the targets"
        yield from _table([(each.name, f"{each.about}: {each.ability.why}", each.ability) for each in result.extras])


def _table(rows: Sequence[tuple[str, str, Ability]]) -> Iterator[str]:
    """What, yes or no, why; below it how to get it, once for rows that want the same."""
    from qdsl.spec.words import plain

    width, told = max(len(name) for name, _, _ in rows), ""
    for name, why, ability in rows:
        verdict = "BROKEN" if ability.broken else "yes" if ability.able else "no"
        yield plain(f"  {name:{width}}  {verdict:6}  {why}")
        if ability.get:
            yield plain(f"  {'':{width}}  {'':6}  get it: {'as above' if ability.get == told else ability.get}")
        told = ability.get


def _machine(found: Machine) -> str:
    kind = f", the kind of CPU that recipes call {found.kind}" if found.kind else ""
    sets = f" with {found.instructions}" if found.instructions else ""
    return f"{found.processor}, {found.architecture}{sets}{kind}; {found.system}, Python {found.python}"


def _as_json(result: DoctorResult) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "machine": asdict(result.machine),
        "targets": [
            {
                "name": each.name,
                "title": each.title,
                "abilities": {deed: asdict(ability) for deed, ability in each.abilities.items()},
            }
            for each in result.targets
        ],
        "extras": [{"name": each.name, "about": each.about, **asdict(each.ability)} for each in result.extras],
        "broken": list(result.broken),
    }
