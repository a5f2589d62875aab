"""`qdsl compile RECIPE`: calibrate, rewrite, emit, verify, evaluate, and hold the budgets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from qdsl.cli.log import log
from qdsl.cli.measured import line

if TYPE_CHECKING:
    from qdsl.api import CompileResult
    from qdsl.measure.building import TargetBuilt
    from qdsl.targets.results import NotHere, Verification


def add(parser: argparse.ArgumentParser) -> None:
    from qdsl.cli.common import add_json, add_on, add_python, add_recipe, add_target, at_least_one

    parser.description = (
        "Calibrate, rewrite, emit to OUT/<recipe>/<target>/, compare with the float model, and evaluate."
    )
    add_recipe(parser)
    add_target(parser)
    parser.add_argument("--out", default="build", help="where artifacts go (default: build)")
    parser.add_argument("--workers", type=at_least_one, help="calibration threads (default: the processors there are)")
    parser.add_argument(
        "--batch", type=at_least_one, help="samples that a worker takes at a time; never changes a result"
    )
    parser.add_argument("--shards", type=at_least_one, default=1, help="processes that calibrate, each some samples")
    parser.add_argument("--engine", default="local", help="where they run: local (the default) or ray")
    _add_lock(parser)
    add_on(parser)
    parser.add_argument(
        "--check",
        choices=("rtx",),
        help="build an engine of the artifact for tensorrt with NVIDIA's TensorRT-RTX, without a GPU, and hold what "
        "its layers compute in against the plan (needs the extra `rtx`)",
    )
    parser.add_argument(
        "--cc",
        metavar="SM",
        help="with --check: the compute capability to build for (sm86, ..); without it the one nearest to the device's",
    )
    parser.add_argument(
        "--build",
        action="store_true",
        help="make of the artifacts what devices run, and time it, where that can be done here (an engine, with "
        "TensorRT and a GPU); else say how to get it",
    )
    parser.add_argument(
        "--causes",
        action="store_true",
        help="say which tensors the error comes from, and what would help (slow)",
    )
    parser.add_argument("--no-measure", action="store_true", help="leave out what `evaluate` and `profile` say")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit 4, too, for an undecided budget and a build that does not run as planned",
    )
    parser.add_argument(
        "--provenance",
        choices=("text", "hashes", "none"),
        default="text",
        help="what the file carries of where it comes from: the recipe's text with hashes and versions (the default), "
        "hashes and versions alone, or none of it",
    )
    add_python(parser)
    add_json(parser)


def _add_lock(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--locked", action="store_true", help="take the ranges from the lock; the data may be gone")
    choice.add_argument("--update", action="store_true", help="measure anew and rewrite the lock")
    choice.add_argument("--no-lock", action="store_true", help="neither read nor write the lock beside the recipe")


def run(args: argparse.Namespace) -> int:
    import qdsl.api
    from qdsl.cli import EXIT_BUDGET, EXIT_ERRORS, EXIT_USAGE
    from qdsl.cli.output import complain, print_json, show_diagnostics
    from qdsl.cli.progress import Progress

    if args.cc is not None and args.check is None:
        complain("`--cc` says for which GPU `--check rtx` builds: add it")
        return EXIT_USAGE
    with Progress(as_json=args.json) as progress:
        result = qdsl.api.compile(
            args.recipe,
            out=args.out,
            target=args.target,
            sets=dict(args.sets),
            workers=args.workers,
            batch=args.batch,
            listener=log(progress, as_json=args.json),
            locked=args.locked,
            update=args.update,
            lock=not args.no_lock,
            measure=not args.no_measure,
            shards=args.shards,
            engine=args.engine,
            on=args.on,
            allow_python=args.allow_python,
            provenance=args.provenance,
            causes=args.causes,
            check=args.check,
            capability=args.cc,
            build=args.build,
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        _tell_causes(result)
        line("report", str(result.report))
    if any(each.failed for each in result.built):
        return EXIT_ERRORS
    sure = result.as_verified and result.computes and result.survives and not result.undecided
    return 0 if result.holds and (sure or not args.strict) else EXIT_BUDGET


def _tell_causes(result: CompileResult) -> None:
    """Where the error of each artifact comes from, where that was asked."""
    for facts in result.measurements.builds:
        if facts.causes is not None:
            from qdsl.auditing.formats.causes import told

            print("\n".join(told(facts.causes)))


def _built(found: TargetBuilt) -> dict[str, Any]:
    """What came of building for one target."""
    from qdsl.targets.results import NotHere

    if isinstance(found.found, NotHere):
        return {"target": found.target, "built": False, "not_built": found.found.why}
    return {"target": found.target, "built": not found.failed, **_plain(found.found)}


def _verified(found: Verification | NotHere) -> dict[str, Any]:
    """What running the artifact showed; None where it does not run here, with why."""
    from qdsl.targets.results import NotHere

    if isinstance(found, NotHere):
        return {"verification": None, "not_verified": found.why}
    return {"verification": _plain(found)}


def _plain(value: Any) -> Any:
    """A value of a result as JSON has it; infinities in words."""
    import dataclasses
    import math

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def _as_json(result: CompileResult) -> dict[str, Any]:
    from qdsl.auditing.formats.causes import to_data as causes_json
    from qdsl.cli.checked import check_json
    from qdsl.cli.engines import engine_json
    from qdsl.cli.output import diagnostic_json
    from qdsl.harness.measurements import evaluation_json, profile_json

    targets = [
        {
            "target": target.target,
            "emitted": {name: value for name, value in _plain(target.emitted).items() if name != "span"},
            **_verified(target.verification),
            "budgets": _plain(target.budgets),
            "choices": _plain(target.plan.choices),
            "totals": _plain(target.plan.totals),
            "activations": facts.activations,
            **({} if facts.causes is None else {"causes": causes_json(facts.causes)}),
        }
        for target, facts in zip(result.targets, result.measurements.builds, strict=True)
    ]
    return {
        "recipe": result.recipe,
        "directory": str(result.directory),
        "holds": result.holds,
        "report": str(result.report),
        "lock": None if result.lock is None else str(result.lock),
        "from_lock": result.from_lock,
        "targets": targets,
        "evaluations": [evaluation_json(found) for found in result.evaluations],
        "profiles": [profile_json(found) for found in result.profiles],
        "checks": [check_json(found) for found in result.checks],
        "built": [_built(found) for found in result.built],
        "engines": [engine_json(found) for found in result.engines],
        "diagnostics": [diagnostic_json(d) for d in result.diagnostics],
    }
