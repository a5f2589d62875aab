"""What an artifact computes on a processor, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qdsl.cli.measured import line

if TYPE_CHECKING:
    from qdsl.harness.checks import Agreement, Check


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
