"""`qdsl compile RECIPE`: calibrate, rewrite, emit, verify, and hold the budgets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api import CompileResult, TargetResult
    from qdsl.api.budgets import Budget
    from qdsl.targets.results import Fidelity, Verification

_STAGE = 10


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
    parser.add_argument("--strict", action="store_true", help="exit 4 for an undecided budget, too")
    add_json(parser)


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
    from qdsl.plan.render import totals

    _line("rewrite", totals(target.plan))
    _line(target.target, f"{target.emitted.model}   {target.emitted.size / 2**20:.2f} MiB")
    for node, reason in target.emitted.refused:
        _line("refused", f"{node}: {reason}")
    _print_verification(target.verification)
    for budget in target.budgets:
        _line("require", f"{budget.text:<26} {_verdict(budget)}")


def _print_verification(found: Verification) -> None:
    kernels = "   ".join(f"{k.kernel} {k.real} of {k.predicted}" for k in found.kernels)
    _line("verify", f"{'as predicted' if found.as_predicted else 'NOT AS PREDICTED'}: {kernels}")
    for miss in found.mismatches:
        _line("", f"! {miss.node} ({miss.op}): predicted {miss.predicted}, runs {miss.real}")
    for output in found.outputs:
        _line("output", f"{output.tensor}   {_fidelity(output)}   ({output.samples} samples)")
    for tensor in found.worst:
        _line("worst", f"{tensor.tensor}   {_fidelity(tensor)}   ({tensor.samples} samples)")


def _fidelity(found: Fidelity) -> str:
    if found.sqnr_db is None:
        return "cannot be compared"
    cosine = "" if found.cosine is None else f", cosine {found.cosine:.5f}"
    return f"{found.sqnr_db:.1f} dB{cosine}"


def _verdict(budget: Budget) -> str:
    if budget.value is None or budget.bound is None:
        return "undecided   not measured"
    shown = (
        f"{budget.value / 2**20:.2f} MiB"
        if budget.text.startswith("size ") and budget.value > 1
        else f"{budget.value:.3f}"
    )
    if budget.margin is None:
        return f"{shown}   {budget.verdict}"
    left = f"{abs(budget.margin):.0%}"
    return f"{shown}   holds, {left} to spare" if budget.verdict == "holds" else f"{shown}   BROKEN, {left} over"


def _line(stage: str, text: str) -> None:
    print(f"{stage:<{_STAGE}} {text}")


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
            "totals": plain(target.plan.totals),
        }
        for target in result.targets
    ]
    return {
        "recipe": result.recipe,
        "directory": str(result.directory),
        "holds": result.holds,
        "targets": targets,
        "diagnostics": [diagnostic_json(d) for d in result.diagnostics],
    }
