"""Results of measuring, in lines: what `compile`, `evaluate` and `profile` print."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdsl.api.remeasuring import MeasureResult
    from qdsl.harness import Evaluation
    from qdsl.harness.measurements import BudgetFacts
    from qdsl.harness.profiles import Profile

_STAGE = 10
_STYLES = {"holds": "green", "broken": "red", "undecided": "yellow"}


def add_build(parser: argparse.ArgumentParser) -> None:
    """The arguments of a verb that measures a build."""
    from qdsl.cli.common import add_json, add_recipe

    add_recipe(parser)
    parser.add_argument("--out", default="build", help="where builds are (default: build)")
    parser.add_argument("--strict", action="store_true", help="exit 4 for an undecided budget, too")
    add_json(parser)


def show(result: MeasureResult, args: argparse.Namespace) -> int:
    """Print what is left to be told of what was measured; the exit code."""
    from qdsl.cli import EXIT_BUDGET
    from qdsl.cli.output import print_json, show_diagnostics

    show_diagnostics(result.diagnostics)
    if args.json:
        print_json(_as_json(result))
    else:
        line("report", str(result.report))
    undecided = args.strict and bool(result.undecided)
    return 0 if result.holds and not undecided else EXIT_BUDGET


def _as_json(result: MeasureResult) -> dict[str, Any]:
    from dataclasses import asdict

    from qdsl.cli.output import diagnostic_json
    from qdsl.harness.measurements import evaluation_json, profile_json

    budgets = {
        target: [{name: value for name, value in asdict(budget).items() if name != "span"} for budget in decided]
        for target, decided in result.budgets.items()
    }
    return {
        "recipe": result.recipe,
        "directory": str(result.directory),
        "holds": result.holds,
        "report": str(result.report),
        "budgets": budgets,
        "evaluations": [evaluation_json(found) for found in result.evaluations],
        "profiles": [profile_json(found) for found in result.profiles],
        "diagnostics": [diagnostic_json(each) for each in result.diagnostics],
    }


def line(stage: str, text: str) -> None:
    """One line of the result. Names in it come from untrusted files: nothing in them may steer a terminal."""
    from qdsl.spec.words import plain

    print(f"{stage:<{_STAGE}} {plain(text)}")


def print_evaluation(found: Evaluation) -> None:
    """The figures that the recipe names: the float model's, each build's, and how much less that is, with the paired
    bootstrap 95 % interval."""
    from qdsl.cli.output import draws_tables, print_table

    changed = f", pictures changed: {found.condition}" if found.condition else ""
    title = f"{found.task} on {found.data}, {found.samples} {of(found.samples, '')}{changed}"
    names = [build.build for build in found.builds]
    rows = []
    for key in found.asked:
        values = [build.scores.get(key) for build in found.builds]
        drops = [build.drops[key] for build in found.builds if key in build.drops]
        told = "   ".join(f"drop {100 * d.value:.2f} pp [{100 * d.low:.2f}, {100 * d.high:.2f}]" for d in drops)
        rows.append([str(key), *("-" if value is None else f"{value:.4f}" for value in values), told])
    if draws_tables():
        print_table(f"evaluate: {'; '.join((title, *found.stand_ins))}", ["", *names, "95 % interval"], rows)
        return
    line("evaluate", title)
    for told in found.stand_ins:
        line("", told)
    width = max((len(name) for name, *_ in rows), default=0)
    for name, *cells, told in (["", *names, ""], *rows):
        line("", f"{name:<{width}}   {'   '.join(f'{cell:>8}' for cell in cells)}   {told}".rstrip())


def print_profile(found: Profile) -> None:
    """Latency, throughput, processor load and memory of each model, and how much faster than float it is."""
    from qdsl.cli.output import draws_tables, print_table
    from qdsl.harness.profiles import HERE
    from qdsl.spec.words import mebibytes

    threads = "threads auto" if not found.threads else _counted(found.threads, "thread")
    where = "here" if found.measured_on == HERE else f"here by {found.measured_on}"
    title = f"measured {where}: {_counted(found.runs, 'run')} each, in turns, batch {found.batch}, {threads}"
    title += f"; {found.aside}" if found.aside else ""
    base = found.builds[0].latency()
    rows = []
    for build in found.builds:
        times = [f"{1e3 * build.latency(form):.2f} ms" for form in ("p50", "p90", "p99", "mean")]
        memory = "not measured" if build.peak_memory is None else mebibytes(build.peak_memory)
        faster = "" if build is found.builds[0] else f"{base / build.latency():.2f}x"
        rate = f"{found.throughput(build.build):.1f}"
        rows.append([build.build, *times, rate, f"{build.cpu:.0%}", memory, faster])
    columns = ["", "p50", "p90", "p99", "mean", "per second", "cpu", "memory"]
    if draws_tables():
        print_table(f"profile: {title}", [*columns, "speed-up"], rows)
        return
    line("profile", title)
    width = max(len(build.build) for build in found.builds)
    for name, p50, p90, p99, mean, rate, cpu, memory, faster in ([*columns, ""], *rows):
        times = [f"{time:>10}" for time in (p50, p90, p99, mean)]
        line("", f"{name:<{width}}   {' '.join(times)} {rate:>11} {cpu:>6}   {memory}   {faster}".rstrip())


def print_budgets(budgets: Sequence[BudgetFacts], target: str = "") -> None:
    """Each `require` with its verdict, under the name of the `target` where there are several."""
    from qdsl.cli.output import draws_tables, print_table

    if draws_tables() and budgets:
        styles = [_STYLES[budget.verdict] for budget in budgets]
        print_table(
            f"require {target}".rstrip(),
            ["", "verdict"],
            [[budget.text, _verdict(budget)] for budget in budgets],
            styles,
        )
        return
    width = max((len(budget.text) for budget in budgets), default=0)
    for budget in budgets:
        line("require", f"{target and f'{target}   '}{budget.text:<{width}}   {_verdict(budget)}")


def of(count: int, source: str) -> str:
    """`samples of calib`, `drawn inputs`."""
    if source == "drawn inputs":
        return source if count != 1 else source.removesuffix("s")
    return ("sample" if count == 1 else "samples") + (f" of {source}" if source else "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _verdict(budget: BudgetFacts) -> str:
    from qdsl.spec.words import in_unit

    if budget.form == "holds" and budget.value is not None:
        return f"{'holds' if budget.verdict == 'holds' else 'BROKEN'} ({budget.source})"
    if budget.value is None or budget.bound is None:
        return f"undecided: {budget.source or 'not measured'}"
    shown = in_unit(budget.value, budget.unit)
    if budget.low is not None and budget.high is not None:
        ends = (in_unit(end, budget.unit).partition(" ")[0] for end in (budget.low, budget.high))
        shown += f" [{', '.join(ends)}]"
    word = "holds" if budget.verdict == "holds" else "BROKEN"
    told = f"{shown}   {word}"
    if budget.margin is not None:
        told += f", {_distance(budget.value, budget.bound, word == 'holds')}"
    return told + (f" ({budget.source})" if budget.source else "")


def _distance(value: float, bound: float, holds: bool) -> str:
    """How far a figure is from its bound: a share, or how many times the bound where that is far over it."""
    if not holds and value >= 2 * bound > 0:
        return f"{value / bound:.{0 if value >= 10 * bound else 1}f} times the bound"
    share = f"{abs(value - bound) / abs(bound):.0%}".replace("%", " %")
    return f"{share} {'to spare' if holds else 'over' if value > bound else 'short'}"
