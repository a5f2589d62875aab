"""`qdsl compile RECIPE`: calibrate, rewrite, emit, verify, evaluate, and hold the budgets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qdsl.cli.measured import line, of, print_budgets, print_evaluation, print_profile
from qdsl.cli.verify import print_checks

if TYPE_CHECKING:
    from qdsl.api import CompileResult
    from qdsl.api.compiling import Event
    from qdsl.cli.progress import Progress
    from qdsl.targets.results import Arithmetic, Fidelity, Verification

_WIDEST = 64  # columns for the names of tensors


def add(verbs: Any) -> None:
    from qdsl.cli.common import add_json, add_on, add_python, add_recipe, add_target, at_least_one

    parser = verbs.add_parser(
        "compile",
        help="calibrate, rewrite, emit, verify and evaluate",
        description="Calibrate, rewrite, emit to OUT/<recipe>/<target>/, compare with the float model, and evaluate.",
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
    parser.add_argument("--no-measure", action="store_true", help="leave out what `evaluate` and `profile` say")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit 4, too, for an undecided budget and a build that does not run as planned",
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
    from qdsl.cli import EXIT_BUDGET
    from qdsl.cli.output import print_json, show_diagnostics
    from qdsl.cli.progress import Progress

    with Progress(as_json=args.json) as progress:
        listener = progress.hear if args.json else _log(progress)
        result = qdsl.api.compile(
            args.recipe,
            out=args.out,
            target=args.target,
            sets=dict(args.sets),
            workers=args.workers,
            batch=args.batch,
            listener=listener,
            locked=args.locked,
            update=args.update,
            lock=not args.no_lock,
            measure=not args.no_measure,
            shards=args.shards,
            engine=args.engine,
            on=args.on,
            allow_python=args.allow_python,
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        for facts in result.measurements.builds:
            _print_activations(facts.activations, result.measurements.model.activations)
        print_checks(result.checks)
        for target in result.targets:
            print_budgets(target.budgets)
        line("report", str(result.report))
    sure = result.as_verified and result.computes and not result.undecided
    return 0 if result.holds and (sure or not args.strict) else EXIT_BUDGET


def _log(progress: Progress) -> Callable[[Event], None]:
    """A listener that prints results as soon as they are known: builds as they are verified, then what they were
    measured to be. What is on the way it leaves to `progress`."""

    def hear(event: Event) -> None:
        if event.found is None:
            progress.hear(event)
            return
        progress.pause()
        _print_found(event)
        sys.stdout.flush()

    return hear


def _print_found(event: Event) -> None:
    from qdsl.api.measuring import Made
    from qdsl.harness import Evaluation

    found = event.found
    if isinstance(found, Made):
        line(event.stage, event.text)
        for node, reason in found.emitted.refused:
            line("refused", f"{node}: {reason}")
        _print_verification(found.verification, as_it_is=found.plan.mode == "none")
    elif isinstance(found, Evaluation):
        print_evaluation(found)
    elif found is not None:
        print_profile(found)


def _print_activations(ours: int | None, floats: int | None) -> None:
    """What lives at the same time, where the shapes say it."""
    from qdsl.plan.render import mebibytes, times_smaller

    if ours is not None and floats:
        line("memory", f"activations {mebibytes(ours)} at most, {times_smaller(floats, ours)} (from the graph)")


def _print_verification(found: Verification, *, as_it_is: bool) -> None:
    from qdsl.plan.render import shortened

    kernels, widened = (
        ", ".join(f"{k.real} of {k.predicted} {k.kernel}" for k in counts) for counts in (found.kernels, found.widened)
    )
    word = "as predicted" if found.as_predicted else "NOT AS PREDICTED" if found.kernels_read else "NOT VERIFIED"
    word = "as it is" if as_it_is else word
    more = f"; integer weights, float products: {widened}" if widened else ""
    line("verify", f"{word}, in integers: {kernels or 'nothing'}{more}")
    for miss in found.mismatches:
        line("", f"! {miss.node} ({miss.op}): predicted {miss.predicted}, runs {miss.real}")
    for number, one in enumerate(found.arithmetic):
        line("" if number else "kernels", f"{one.output}   {_arithmetic(one)}   {of(one.samples, found.source)}")
    for number, (output, why) in enumerate(found.unordered):
        line("" if number else "left out", f"{output}: {why}")
    width = min(max((len(f.tensor) for f in (*found.outputs, *found.worst)), default=0), _WIDEST)
    for stage, tensors in (("outputs", found.outputs), ("worst", found.worst)):
        for number, each in enumerate(tensors):
            samples = f"{each.samples} {of(each.samples, found.source)}"
            name = shortened(each.tensor, _WIDEST) if sys.stdout.isatty() else each.tensor
            line("" if number else stage, f"{name:<{width}}   {_fidelity(each)}   {samples}")


def _fidelity(found: Fidelity) -> str:
    if found.sqnr_db is None:
        return "cannot be compared" if found.samples else "not compared"
    return f"{found.sqnr_db:5.1f} dB" + ("" if found.cosine is None else f"   cosine {found.cosine:.5f}")


def _arithmetic(found: Arithmetic) -> str:
    """What this CPU's kernels make of the output, beside the arithmetic of the file."""
    if found.equal:
        return f"{_decibels(found.here_db)} here, equal to the file's own arithmetic"
    planned, here = _decibels(found.planned_db), _decibels(found.here_db)
    return f"{planned} as the file says, {here} as this CPU computes ({_decibels(found.apart_db)} apart)"


def _decibels(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:.1f} dB"


def _as_json(result: CompileResult) -> dict[str, Any]:
    import dataclasses
    import math

    from qdsl.cli.output import diagnostic_json
    from qdsl.cli.verify import check_json
    from qdsl.harness.measurements import evaluation_json, profile_json

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)

    targets = [
        {
            "target": target.target,
            "emitted": plain(target.emitted),
            "verification": plain(target.verification),
            "budgets": plain(target.budgets),
            "choices": plain(target.plan.choices),
            "totals": plain(target.plan.totals),
            "activations": facts.activations,
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
        "diagnostics": [diagnostic_json(d) for d in result.diagnostics],
    }
