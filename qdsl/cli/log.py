"""The log of a verb: what it hears, printed as soon as it is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from qdsl.cli.checked import print_check
from qdsl.cli.engines import print_engine
from qdsl.cli.measured import line, of, print_budgets, print_evaluation, print_profile

if TYPE_CHECKING:
    from pathlib import Path

    from qdsl.cli.progress import Progress
    from qdsl.measure.events import Event
    from qdsl.spec.emulated import Emulated
    from qdsl.targets.results import Arithmetic, Fidelity, Verification

_WIDEST = 72  # columns for the names of tensors


def log(progress: Progress, *, as_json: bool) -> Callable[[Event], None]:
    """A listener that prints results, and leaves what is on the way to `progress`. With `as_json` results are left to
    the document."""

    def hear(event: Event) -> None:
        if event.found is None:
            progress.hear(event)
            return
        progress.pause()
        _print_found(event)
        sys.stdout.flush()

    return progress.hear if as_json else hear


def _print_found(event: Event) -> None:
    from qdsl.harness import Evaluation
    from qdsl.harness.checks import Check
    from qdsl.harness.engine_checks import EngineCheck
    from qdsl.harness.measurements import Measurements
    from qdsl.measure.measuring import Made
    from qdsl.spec.emulated import Emulated
    from qdsl.spec.words import plain
    from qdsl.targets.results import NotHere

    found = event.found
    if isinstance(found, Made):
        line(event.stage, event.text)
        for node, reason in found.emitted.refused:
            line("refused", f"{node}: {reason}")
        if isinstance(found.verification, NotHere):
            line("verify", f"NOT VERIFIED: {plain(found.verification.why)}")
        else:
            _print_verification(found.verification, found.emitted.directory, as_it_is=found.plan.mode == "none")
    elif isinstance(found, Check):
        print_check(found)
    elif isinstance(found, EngineCheck):
        print_engine(found)
    elif isinstance(found, Evaluation):
        print_evaluation(found)
    elif isinstance(found, Emulated):
        _print_core(found)
    elif isinstance(found, Measurements):
        several = len(found.builds) > 1
        for build in found.builds:
            _print_activations(build.activations, found.model.activations, build.target if several else "")
        for build in found.builds:
            print_budgets(build.budgets, build.target if several else "")
    elif found is not None:
        print_profile(found)


def _print_activations(ours: int | None, floats: int | None, target: str) -> None:
    """What lives at the same time, where the shapes say it; under the name of the `target` where there are several."""
    from qdsl.spec.words import mebibytes, times_smaller

    if ours is not None and floats:
        of = f"{target}   " if target else ""
        line("memory", f"{of}activations {mebibytes(ours)} at most, {times_smaller(floats, ours)} (from the graph)")


def _print_verification(found: Verification, directory: Path, *, as_it_is: bool) -> None:
    from qdsl.spec.words import shortened

    if not found.kernels_read and found.unseen:
        line("verify", f"kernels not seen here: {found.unseen}")
    else:
        _print_kernels(found, as_it_is=as_it_is)
    for number, one in enumerate(found.arithmetic):
        line("" if number else "kernels", f"{one.output}   {_arithmetic(one)}   {of(one.samples, found.source)}")
    _print_emulated(found, directory)
    for number, (output, why) in enumerate(found.unordered):
        line("" if number else "left out", f"{output}: {why}")
    width = min(max((len(f.tensor) for f in (*found.outputs, *found.worst)), default=0), _WIDEST)
    for stage, tensors in (("outputs", found.outputs), ("worst", found.worst)):
        for number, each in enumerate(tensors):
            samples = f"{each.samples} {of(each.samples, found.source)}"
            name = shortened(each.tensor, _WIDEST) if sys.stdout.isatty() else each.tensor
            line("" if number else stage, f"{name:<{width}}   {_fidelity(each)}   {samples}")


def _print_emulated(found: Verification, directory: Path) -> None:
    """What emitted C did on an emulated core, or why nothing."""
    from qdsl.spec.words import plain

    if found.emulated is not None:
        _print_core(found.emulated)
    elif found.not_emulated:
        line("C", f"NOT RUN on an emulated core: {plain(found.not_emulated)}")
    if found.macc is not None:
        line("", f"{found.macc:,} MACC, as ST's tool counts")
        line("", f"how it is built and called: {directory / 'c' / 'README.md'}")


def _print_core(its: Emulated) -> None:
    from qdsl.spec.words import count

    per = its.instructions_per_mac
    line("C", f"{its.exact} of {count(its.outputs, 'value')} as the integers are, to the bit   {its.label}")
    line("", f"flash {its.flash:,} B, RAM {its.ram:,} B and {its.stack:,} B of stack   ({its.compiler})")
    told = f", {per:.2f} per multiplication" if per is not None else ""
    line("", f"{its.instructions:,} instructions per inference{told}")


def _print_kernels(found: Verification, *, as_it_is: bool) -> None:
    kernels, widened = (
        ", ".join(f"{k.real} of {k.predicted} {k.kernel}" for k in counts) for counts in (found.kernels, found.widened)
    )
    word = "as predicted" if found.as_predicted else "NOT AS PREDICTED" if found.kernels_read else "NOT VERIFIED"
    word = "as it is" if as_it_is else word
    more = f"; integer weights, float products: {widened}" if widened else ""
    line("verify", f"{word}, in integers: {kernels or 'nothing'}{more}")
    for miss in () if as_it_is else found.mismatches:  # a file as it is was predicted by nobody
        line("", f"! {miss.node} ({miss.op}): predicted {miss.predicted}, runs {miss.real}")


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
