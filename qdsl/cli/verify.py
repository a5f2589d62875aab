"""`qdsl verify BUILD`: whether an artifact computes what its graph says, here and on other processors, emulated."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qdsl.cli.measured import line

if TYPE_CHECKING:
    from qdsl.api import VerifyResult
    from qdsl.harness.checks import Agreement, Check


def add(verbs: Any) -> None:
    from qdsl.cli.common import add_json, add_on, add_sets, at_least_one

    parser = verbs.add_parser(
        "verify",
        help="check what a build computes, here or on other processors, emulated",
        description="Run the artifacts of a build as they run by default against the same files without the runtime's "
        "optimizations and against the graph's own arithmetic, and count the integer kernels. Nothing is timed.",
    )
    parser.add_argument("build", help="a build's folder, build/<recipe>, or a recipe whose build is in OUT/<recipe>/")
    add_on(parser)
    add_sets(parser)
    parser.add_argument("--out", default="build", help="where builds of recipes are (default: build)")
    parser.add_argument("--samples", type=at_least_one, help="samples to run (default: all, emulated 4)")
    parser.add_argument("--strict", action="store_true", help="exit 4 for a warning, too")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_BUDGET
    from qdsl.cli.log import log
    from qdsl.cli.output import print_json, show_diagnostics
    from qdsl.cli.progress import Progress

    with Progress(as_json=args.json) as progress:
        result = qdsl.api.verify(
            args.build,
            on=args.on,
            out=args.out,
            sets=dict(args.sets),
            samples=args.samples,
            listener=log(progress, as_json=args.json),
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        line("compiled", f"on {result.compiled_on or 'an unknown instruction set'}")
    return EXIT_BUDGET if args.strict and not result.holds else 0


def print_check(found: Check) -> None:
    """What an artifact computes on a processor."""
    from qdsl.harness.check import decibel_words

    where = "" if found.cpu in ("", found.environment.get("processor")) else f" on {found.cpu}"
    line("verify", f"{found.target}{where}, {found.label}: {found.environment.get('instructions') or 'unknown'}")
    kernels = ", ".join(f"{real} of {predicted} {name}" for name, predicted, real in found.kernels) or "nothing"
    line("", f"{'as predicted' if found.as_predicted else 'NOT AS PREDICTED'}, in integers: {kernels}")
    written = found.arithmetic
    if written is None:
        line("", "not compared with the same file unoptimized: the runtime does not run it so")
    else:
        _print_outputs(written.outputs, "the same file unoptimized there", written.samples)
    _print_outputs(found.agreement, "the graph's own arithmetic", found.samples)
    for output, why in found.unordered.items():
        line("", f"{output}   left out: {why}")
    for kept in found.fidelity:
        planned, here = decibel_words(kept.planned_db), decibel_words(kept.here_db)
        line("", f"{kept.output}   {planned} beside float as planned, {here} as computed there")


def _print_outputs(outputs: Sequence[Agreement], against: str, samples: int) -> None:
    from qdsl.harness.check import decibel_words

    for each in outputs:
        ratio = decibel_words(each.sqnr_db)
        line("", f"{each.output}   {ratio} to {against}   {samples} {'sample' if samples == 1 else 'samples'}")


def check_json(found: Check) -> dict[str, Any]:
    """A check as JSON: None for dB where outputs are equal."""
    from qdsl.harness.check import json_ready

    def outputs(each: Sequence[Agreement]) -> dict[str, Any]:
        return {one.output: {"sqnr_db": one.sqnr_db, "max_error": one.max_error} for one in each}

    written = found.arithmetic
    plain: dict[str, Any] = json_ready(
        {
            "target": found.target,
            "cpu": found.cpu or None,
            "label": found.label,
            "emulated": found.emulated,
            "environment": dict(found.environment),
            "samples": found.samples,
            "as_predicted": found.as_predicted,
            "kernels": {name: {"predicted": predicted, "real": real} for name, predicted, real in found.kernels},
            "unoptimized": None
            if written is None
            else {"samples": written.samples, "outputs": outputs(written.outputs)},
            "goldens": outputs(found.agreement),
            "fidelity": {
                kept.output: {"planned_db": kept.planned_db, "here_db": kept.here_db} for kept in found.fidelity
            },
            "unordered": dict(found.unordered),
        }
    )
    return plain


def _as_json(result: VerifyResult) -> dict[str, Any]:
    from qdsl.cli.output import diagnostic_json

    return {
        "recipe": result.recipe,
        "directory": str(result.directory),
        "holds": result.holds,
        "compiled_on": result.compiled_on,
        "checks": [check_json(found) for found in result.checks],
        "diagnostics": [diagnostic_json(each) for each in result.diagnostics],
    }
