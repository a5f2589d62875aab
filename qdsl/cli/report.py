"""`qdsl report DIR...`: the page about one build, or about several side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import ReportResult
    from qdsl.harness.devices import Device
    from qdsl.harness.engines import Engine
    from qdsl.harness.measurements import BuildFacts
    from qdsl.harness.st_reports import StReport


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json

    parser.description = (
        "Make one HTML file from what `compile` left in build directories: about one build all that is "
        "known, about several a comparison. Nothing is measured."
    )
    parser.add_argument("directories", nargs="+", metavar="DIR", help="a build directory: build/<recipe>")
    parser.add_argument("--out", metavar="FILE", help="the page (default: DIR/report.html; of several comparison.html)")
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="FILE",
        help="take in the measurements.json that `python bench.py` wrote on a device, or files of a TensorRT engine "
        "(layers.json, profile.json, times.json, or their folder), and decide the budgets by it (may be repeated; exit "
        "4 for a broken budget); or reports of ST Edge AI Core (network_c_info.json, network_*_report.txt, or their "
        "folder), which decide nothing",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="with --add: on which GPU the engine is, where no build.json beside says it"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_BUDGET, EXIT_USAGE
    from qdsl.cli.output import complain, print_json, show_diagnostics

    if args.add and len(args.directories) > 1:
        complain("`--add` takes one build directory")
        return EXIT_USAGE
    if args.device is not None and not args.add:
        complain("`--device` names the GPU of what `--add` takes in: add it")
        return EXIT_USAGE
    result = qdsl.api.report(*args.directories, out=args.out, add=args.add, device=args.device)
    if args.json:
        print_json(_as_json(result))
    else:
        show_diagnostics(result.diagnostics)
        _print(result, decided=bool(args.add))
    return EXIT_BUDGET if args.add and not result.holds else 0


def _print(result: ReportResult, *, decided: bool) -> None:
    from qdsl.cli.measured import line, print_budgets
    from qdsl.report.words import count

    if decided:
        for device in (each for found in result.devices for each in found):
            counts = f"{count(device.profile.runs, 'run')}, {count(device.samples, 'sample')}"
            line("device", f"{device.name}   {device.target}, {counts}")
        for engine in (each for found in result.engines for each in found):
            line("engine", f"{engine.name}   {engine.target}, {_engine_words(engine)}")
        for said in (each for found in result.st_reports for each in found):
            line("imported", f"{said.name}   {said.target}, {_st_words(said)}")
        for found in result.builds:
            for build in found.builds:
                print_budgets(build.budgets, build.target if len(found.builds) > 1 else "")
    line("report", str(result.path))


def _engine_words(found: Engine) -> str:
    from qdsl.harness.engines import counts
    from qdsl.report.words import count

    told = [f"{number} {verdict}" for verdict, number in counts(found.computes.nodes)] if found.computes else []
    told += [count(len(found.seconds), "run")] if found.seconds else []
    return ", ".join(told)


def _st_words(found: StReport) -> str:
    from qdsl.stedgeai.told import FLOAT, INTEGER

    told = found.told
    figures = (
        (told.flash, "bytes of flash"),
        (told.ram, "bytes of RAM"),
        (told.weights, "bytes of weights"),
        (told.activations, "bytes of activations"),
        (told.macc, "MACC"),
    )
    said = [f"{value:,} {what}" for value, what in figures if value is not None]
    if told.nodes:
        floats = told.counted(FLOAT)
        said.append(f"{told.counted(INTEGER)} of {len(told.nodes)} nodes in integers, {floats} in floats")
    return ", ".join(said)


def _as_json(result: ReportResult) -> dict[str, Any]:
    from dataclasses import asdict

    from qdsl.cli.output import diagnostic_json

    builds = [
        {
            "recipe": found.recipe,
            "targets": {build.target: _target(build) for build in found.builds},
            "devices": [_device(device) for device in devices],
            "engines": [_engine(engine) for engine in engines],
            "st_reports": [{"name": said.name, **asdict(said)} for said in st_reports],
        }
        for found, devices, engines, st_reports in zip(
            result.builds, result.devices, result.engines, result.st_reports, strict=True
        )
    ]
    told = [diagnostic_json(each) for each in result.diagnostics]
    return {"path": str(result.path), "holds": result.holds, "builds": builds, "diagnostics": told}


def _target(build: BuildFacts) -> dict[str, Any]:
    from qdsl.harness.measurements import budget_json

    return {"bytes": build.bytes, "budgets": [budget_json(budget) for budget in build.budgets]}


def _device(device: Device) -> dict[str, Any]:
    from qdsl.harness.measurements import profile_json

    return {
        "name": device.name,
        "target": device.target,
        "emulated": device.emulated,
        "profile": profile_json(device.profile),
    }


def _engine(found: Engine) -> dict[str, Any]:
    from dataclasses import asdict

    from qdsl.harness.profiles import FORMS

    timed = found.timed
    latency = None if timed is None else {form: timed.latency(form) for form in FORMS}
    plain = {name: value for name, value in asdict(found).items() if name != "seconds"}
    return {"name": found.name, **plain, "runs": len(found.seconds), "latency": latency}
