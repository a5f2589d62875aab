"""`qdsl compile RECIPE`: calibrate, rewrite, emit, verify, and hold the budgets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import CompileResult, TargetResult
    from qdsl.api.budgets import Budget
    from qdsl.targets.results import Fidelity, Verification

_STAGE = 10
_WIDEST = 64  # columns for the names of tensors


def add(verbs: Any) -> None:
    from qdsl.cli.common import add_json, add_recipe, add_target, at_least_one

    parser = verbs.add_parser(
        "compile",
        help="calibrate, rewrite, emit and verify",
        description="Calibrate, rewrite, emit to OUT/<recipe>/<target>/, and compare with the float model.",
    )
    add_recipe(parser)
    add_target(parser)
    parser.add_argument("--out", default="build", help="where artifacts go (default: build)")
    parser.add_argument("--workers", type=at_least_one, help="calibration threads (default: the processors there are)")
    parser.add_argument(
        "--batch", type=at_least_one, help="samples that a worker takes at a time; never changes a result"
    )
    _add_lock(parser)
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
        )
    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        for target in result.targets:
            _print_target(target)
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
    from qdsl.plan.render import mebibytes

    if budget.value is None or budget.bound is None:
        return "undecided: not measured"
    in_bytes = budget.text.startswith("size ") and not budget.text.startswith("size ratio")
    shown = mebibytes(int(budget.value)) if in_bytes else f"{budget.value:.3f}"
    word = "holds" if budget.verdict == "holds" else "BROKEN"
    if budget.margin is None:
        return f"{shown}   {word}"
    return f"{shown}   {word}, {_distance(budget.value, budget.bound, word == 'holds')}"


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
        "lock": None if result.lock is None else str(result.lock),
        "from_lock": result.from_lock,
        "targets": targets,
        "diagnostics": [diagnostic_json(d) for d in result.diagnostics],
    }
