"""`qdsl compile RECIPE`: calibrate, rewrite, emit, verify, evaluate, and hold the budgets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import CompileResult, TargetResult
    from qdsl.api.budgets import Budget
    from qdsl.harness import Evaluation
    from qdsl.harness.profiles import Profile
    from qdsl.targets.results import Fidelity, Verification

_STAGE = 10
_WIDEST = 64  # columns for the names of tensors


def add(verbs: Any) -> None:
    from qdsl.cli.common import add_json, add_recipe, add_target, at_least_one

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
    _add_lock(parser)
    parser.add_argument("--no-measure", action="store_true", help="leave out what `evaluate` and `profile` say")
    parser.add_argument("--strict", action="store_true", help="exit 4 for an undecided budget, too")
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

    with Progress() as progress:
        result = qdsl.api.compile(
            args.recipe,
            out=args.out,
            target=args.target,
            sets=dict(args.sets),
            workers=args.workers,
            batch=args.batch,
            listener=progress.hear,
            locked=args.locked,
            update=args.update,
            lock=not args.no_lock,
            measure=not args.no_measure,
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        for target in result.targets:
            _print_target(target)
        for evaluation in result.evaluations:
            _print_evaluation(evaluation)
        for profile in result.profiles:
            _print_profile(profile)
        for target in result.targets:
            _print_budgets(target)
        _line("report", str(result.report))
    undecided = args.strict and bool(result.undecided)
    return 0 if result.holds and not undecided else EXIT_BUDGET


def _print_target(target: TargetResult) -> None:
    from qdsl.plan.render import choice_words, mebibytes, times_smaller, totals

    emitted = target.emitted
    smaller = times_smaller(target.plan.totals.float_bytes, emitted.size)
    _line("rewrite", totals(target.plan))
    for choice in target.plan.choices:
        _line("tuned", choice_words(choice))
    _line(target.target, f"{emitted.model}   {mebibytes(emitted.size)}, {smaller}")
    for node, reason in emitted.refused:
        _line("refused", f"{node}: {reason}")
    _print_verification(target.verification)


def _print_budgets(target: TargetResult) -> None:
    width = max((len(budget.text) for budget in target.budgets), default=0)
    for budget in target.budgets:
        _line("require", f"{budget.text:<{width}}   {_verdict(budget)}")


def _print_verification(found: Verification) -> None:
    import sys

    from qdsl.plan.render import shortened

    kernels = ", ".join(f"{k.real} of {k.predicted} {k.kernel}" for k in found.kernels) or "nothing"
    _line("verify", f"{'as predicted' if found.as_predicted else 'NOT AS PREDICTED'}, in integers: {kernels}")
    for miss in found.mismatches:
        _line("", f"! {miss.node} ({miss.op}): predicted {miss.predicted}, runs {miss.real}")
    width = min(max((len(f.tensor) for f in (*found.outputs, *found.worst)), default=0), _WIDEST)
    for stage, tensors in (("outputs", found.outputs), ("worst", found.worst)):
        for number, each in enumerate(tensors):
            samples = f"{each.samples} {_of(each.samples, found.source)}"
            name = shortened(each.tensor, _WIDEST) if sys.stdout.isatty() else each.tensor
            _line("" if number else stage, f"{name:<{width}}   {_fidelity(each)}   {samples}")


def _print_evaluation(found: Evaluation) -> None:
    """The figures that the recipe names: the float model's, each build's, and how much less that is, with the paired
    bootstrap 95 % interval."""
    changed = f", pictures changed: {found.condition}" if found.condition else ""
    _line("evaluate", f"{found.task} on {found.data}, {found.samples} {_of(found.samples, '')}{changed}")
    names = [build.build for build in found.builds]
    width = max((len(str(key)) for key in found.asked), default=0)
    _line("", f"{'':<{width}}   {'   '.join(f'{name:>8}' for name in names)}")
    for key in found.asked:
        values = [build.scores.get(key) for build in found.builds]
        shown = "   ".join(f"{'-' if value is None else f'{value:.4f}':>8}" for value in values)
        drops = [build.drops[key] for build in found.builds if key in build.drops]
        told = "   ".join(f"drop {100 * d.value:.2f} pp [{100 * d.low:.2f}, {100 * d.high:.2f}]" for d in drops)
        _line("", f"{key!s:<{width}}   {shown}   {told}".rstrip())


def _print_profile(found: Profile) -> None:
    """Latency, throughput, processor load and memory of each model, and how much faster than float it is."""
    from qdsl.plan.render import mebibytes

    threads = "threads auto" if not found.threads else _counted(found.threads, "thread")
    _line("profile", f"measured here: {_counted(found.runs, 'run')} each, in turns, batch {found.batch}, {threads}")
    width = max(len(build.build) for build in found.builds)
    _line(
        "", f"{'':<{width}}   {'p50':>10} {'p90':>10} {'p99':>10} {'mean':>10} {'per second':>11} {'cpu':>6}   memory"
    )
    base = found.builds[0].latency()
    for build in found.builds:
        times = " ".join(f"{1e3 * build.latency(form):>7.2f} ms" for form in ("p50", "p90", "p99", "mean"))
        memory = "not measured" if build.peak_memory is None else mebibytes(build.peak_memory)
        line = f"{build.build:<{width}}   {times} {found.throughput(build.build):>11.1f} {build.cpu:>6.0%}   {memory}"
        _line("", line if build is found.builds[0] else f"{line}   {base / build.latency():.2f}x")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _of(count: int, source: str) -> str:
    """`samples of calib`, `drawn inputs`."""
    if source == "drawn inputs":
        return source if count != 1 else source.removesuffix("s")
    return ("sample" if count == 1 else "samples") + (f" of {source}" if source else "")


def _fidelity(found: Fidelity) -> str:
    if found.sqnr_db is None:
        return "cannot be compared"
    return f"{found.sqnr_db:5.1f} dB" + ("" if found.cosine is None else f"   cosine {found.cosine:.5f}")


def _verdict(budget: Budget) -> str:
    if budget.value is None or budget.bound is None:
        return "undecided: not measured"
    shown = _in_unit(budget.value, budget.unit)
    if budget.low is not None and budget.high is not None:
        ends = (_in_unit(end, budget.unit).partition(" ")[0] for end in (budget.low, budget.high))
        shown += f" [{', '.join(ends)}]"
    word = "holds" if budget.verdict == "holds" else "BROKEN"
    told = f"{shown}   {word}"
    if budget.margin is not None:
        told += f", {_distance(budget.value, budget.bound, word == 'holds')}"
    return told + (f" ({budget.source})" if budget.source else "")


def _in_unit(value: float, unit: str | None) -> str:
    """A value in base units, in the unit that its bound is written in."""
    from qdsl.plan.render import mebibytes
    from qdsl.spec import UNITS

    if unit is None:
        return f"{value:.4f}"
    if UNITS[unit].measures == "bytes":
        return mebibytes(int(value))
    return f"{value / UNITS[unit].factor:.2f} {unit}"


def _distance(value: float, bound: float, holds: bool) -> str:
    """How far a figure is from its bound: a share, or how many times the bound where that is far over it."""
    if not holds and value >= 2 * bound > 0:
        return f"{value / bound:.{0 if value >= 10 * bound else 1}f} times the bound"
    share = f"{abs(value - bound) / abs(bound):.0%}".replace("%", " %")
    return f"{share} {'to spare' if holds else 'over' if value > bound else 'short'}"


def _line(stage: str, text: str) -> None:
    """One line of the result. Names in it come from untrusted files: nothing in them may steer a terminal."""
    from qdsl.plan.render import plain

    print(f"{stage:<{_STAGE}} {plain(text)}")


def _as_json(result: CompileResult) -> dict[str, Any]:
    import dataclasses
    import math

    from qdsl.cli.output import diagnostic_json
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
        }
        for target in result.targets
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
        "diagnostics": [diagnostic_json(d) for d in result.diagnostics],
    }
