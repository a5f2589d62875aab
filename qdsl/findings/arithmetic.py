"""What running an artifact shows of its numbers: kernels that compute something else than the file says, outputs and
tensors that are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from qdsl.diag import Diagnostic, Severity, Span
from qdsl.spec.plan import Plan
from qdsl.spec.words import plain
from qdsl.targets.results import Arithmetic, Fidelity, Verification

# Below this an output has little of the float model's left, and a tensor inside the graph nothing.
LEAST_OUTPUT_DB = 10.0
LEAST_TENSOR_DB = 0.0
_SHOWN = 3
_EXACT_DB = 200.0  # of float32 nothing is lost here


def arithmetic_findings(plan: Plan, found: Verification, span: Span) -> Iterator[Diagnostic]:
    """Warnings about one artifact that was verified; `span` is the recipe's line that asked for it."""
    parted = [one for one in found.arithmetic if one.differs]
    if parted:
        yield kernels_differ(plan, parted, found, span)
    outputs = [one for one in found.outputs if _below(one, LEAST_OUTPUT_DB)]
    inner = [one for one in found.layers if _below(one, LEAST_TENSOR_DB)]
    if outputs or inner:
        yield _lost(plan, outputs, inner, found, span)


def kernels_differ(plan: Plan, parted: list[Arithmetic], found: Verification, span: Span) -> Diagnostic:
    """The warning for outputs that this CPU's kernels compute worse than the file says."""
    worst = min(parted, key=lambda one: one.here_db if one.here_db is not None else float("-inf"))
    first = [f"first in tensor {plain(one.tensor)}: {_db(one.sqnr_db)} apart" for one in found.partings[:_SHOWN]]
    return Diagnostic(
        "kernels-differ",
        f"`{plain(worst.output)[:80]}` has {_db(worst.planned_db)} as the file says, {_db(worst.here_db)} as this CPU "
        "computes it",
        span,
        "the kernels compute something else here than the file writes down",
        (_cure(plan),),
        tuple(first),
        severity=Severity.WARNING,
    )


def _cure(plan: Plan) -> str:
    named = {value for fact in plan.facts if fact.kind == "target" for key, value in fact.settings if key == "cpu"}
    if named - {"any"}:
        return f"take `cpu {', '.join(sorted(named))}` out of the target: weights are then exact on any CPU"
    return 'write `weights uint8`, or leave the first of these tensors in float: `keep "NODE" in float32`'


def _below(one: Fidelity, least: float) -> bool:
    return one.sqnr_db is not None and one.sqnr_db < least


def _lost(plan: Plan, outputs: list[Fidelity], inner: list[Fidelity], found: Verification, span: Span) -> Diagnostic:
    """The warning for what quantization leaves nothing of."""
    worst = min(outputs or inner, key=lambda one: one.sqnr_db if one.sqnr_db is not None else 0.0)
    kind = "output" if outputs else "tensor"
    rest = len(outputs) + len(inner) - 1
    more = f", and {rest} more with as little" if rest > 0 else ""
    return Diagnostic(
        "signal-lost",
        f"{kind} `{plain(worst.tensor)[:80]}` has {_db(worst.sqnr_db)} of signal left beside the float model{more}",
        span,
        f"below {LEAST_OUTPUT_DB if outputs else LEAST_TENSOR_DB:g} dB",
        tuple(_ways_back(plan, inner, found)),
        severity=Severity.WARNING,
    )


def _ways_back(plan: Plan, inner: list[Fidelity], found: Verification) -> Iterator[str]:
    """What may help, none of it tried: the first node in graph order where the signal is lost, of those that are not
    float already, or where most is lost in one step, left in float; and ranges that leave rare values out, where the
    recipe does not have them."""
    floats = {node.node for node in plan.nodes if node.prediction.runs == "float"}
    lost = inner or [one for one in found.layers if _below(one, LEAST_OUTPUT_DB)]
    names = {one.tensor for one in lost}
    able = [one for one in found.layers if one.node and one.node not in floats]
    first = next((one for one in able if one.tensor in names), None)
    tried = first or _steepest(found.layers, able)
    if tried is not None:
        where = f"{'it is lost first' if first is not None else 'most is lost'} at `{plain(tried.node)[:80]}`"
        yield f'{where}: try `keep "{plain(tried.node)[:80]}" in float32`, which was not tried here'
    measured = [one.calibration.method for one in plan.tensors if one.observe]
    other = "; `calibrate percentile 99.99` gives other ranges" if measured and "percentile" not in measured else ""
    yield f"`qdsl explain NODE` shows what was decided there{other}"


def _steepest(layers: Sequence[Fidelity], able: Sequence[Fidelity]) -> Fidelity | None:
    """Of the tensors `able`, the one that lost most against the tensor before it in graph order."""
    known = [(one.tensor, min(one.sqnr_db, _EXACT_DB)) for one in layers if one.sqnr_db is not None]
    drops = {tensor: before - level for (_, before), (tensor, level) in pairwise(known)}
    return max(able, key=lambda one: drops.get(one.tensor, 0.0), default=None)


def _db(value: float | None) -> str:
    return "no comparable values" if value is None else f"{value:.1f} dB"
