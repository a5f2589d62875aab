"""Artifacts that were just made, taken to a builder of engines: what `compile --check` does."""

from __future__ import annotations

from dataclasses import replace

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.engines.asked import Examination
from qdsl.harness.engine_checks import CheckedNode, EngineCheck
from qdsl.measure.budgets import Budget
from qdsl.measure.engines import SURVIVAL
from qdsl.measure.measuring import Made
from qdsl.spec.bounds import UnfitError
from qdsl.spec.engine import (
    BUILD,
    BUILT,
    PARSE,
    QUANT_MANIFEST,
    UNDECIDED,
    UNKNOWN,
    EngineRefusal,
    EngineSeen,
    EngineVerdict,
    QuantManifest,
)
from qdsl.spec.engine_json import manifest_of
from qdsl.spec.words import count, plain, shortened

_SHOWN, _TOLD = 3, 200
_NOT_TOLD = EngineVerdict(UNKNOWN, because="the engine does not speak of it")


def checked(made: Made, look: Examination) -> EngineCheck:
    """An engine of the artifact, node by node beside its manifest. Raises QdslError artifact-write where the manifest
    that was just written cannot be read."""
    seen = look(made.emitted.model, _manifest(made).capability)
    found = EngineCheck(
        made.plan.target, seen.source, seen.stage, refused=seen.refused, notes=seen.notes, reason=seen.reason
    )
    return found if seen.stage != BUILT else replace(found, nodes=_nodes(made, seen))


def _nodes(made: Made, seen: EngineSeen) -> tuple[CheckedNode, ...]:
    manifest = _manifest(made)
    told = ((each, seen.verdicts.get(each.node, _NOT_TOLD)) for each in manifest.nodes)
    return tuple(
        CheckedNode(
            each.node,
            each.op,
            each.expect,
            verdict.verdict,
            verdict.layer,
            verdict.because,
            verdict.holds_elsewhere,
            each.waived,
        )
        for each, verdict in told
    )


def _manifest(made: Made) -> QuantManifest:
    path = made.emitted.directory / QUANT_MANIFEST
    try:
        return manifest_of(path.read_text(encoding="utf-8"))
    except (OSError, UnfitError) as error:
        help = ("compile again, with nothing else writing into the folder of the build",)
        raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be read back: {error}", help=help)]) from None


# ---- what it decides -------------------------------------------------------------------------------------------------


def surviving(budget: Budget, check: EngineCheck | None, device: str) -> Budget:
    """`require qdq survives` by an engine that was built here; other budgets stay as they are. An engine for another
    GPU than `device` decides nothing."""
    if check is None or (budget.metric, budget.qualifiers) != SURVIVAL:
        return budget
    planned = check.planned
    passed, lost = [each for each in planned if each.passes], [each for each in planned if each.lost]
    told = f"{len(passed)} of {count(len(planned), 'planned node')}, {check.source}"
    if not planned:
        told = f"{check.source}: {_ended(check)}"
    unknown = replace(budget, verdict="undecided", value=None, source=told)
    if device:
        return replace(unknown, source=f"{told}: no result of {device}")
    if check.stage in (PARSE, BUILD):
        return replace(budget, verdict="broken", value=0.0, source=told)
    if not planned:
        return unknown
    if lost:
        return replace(budget, verdict="broken", value=len(passed) / len(planned), source=f"{told}: {_named(lost)}")
    if len(passed) < len(planned):
        return replace(unknown, source=f"{told}: {_named([each for each in planned if not each.passes])}")
    return replace(budget, verdict="holds", value=1.0, source=told)


def faults(check: EngineCheck) -> tuple[Diagnostic, ...]:
    """What an engine does otherwise than was planned."""
    where = f"{check.target} in {check.source}"
    other = [each for each in check.nodes if each.contradicts and not each.passes]
    if check.stage != BUILT:
        headline = f"{where}: {_ended(check)}"
    elif other:
        headline = f"{where}: {count(len(other), 'node')} of {len(check.nodes)} otherwise than planned: {_named(other)}"
    else:
        return ()
    notes = tuple(_refused(each) for each in check.refused[:_SHOWN] if each.node or len(each.text) > _TOLD)
    return (Diagnostic("engine-otherwise", headline, notes=notes, severity=Severity.WARNING),)


def _refused(found: EngineRefusal) -> str:
    at = f"{plain(found.node)[:200]}: " if found.node else ""
    return f"{at}{shortened(plain(found.text), 300)}"


def _ended(check: EngineCheck) -> str:
    if check.stage == BUILT:
        return "nothing was planned in integers"
    if check.stage == UNDECIDED:
        return f"undecided: {plain(check.reason)}"
    first = f": {shortened(plain(check.refused[0].text), _TOLD)}" if check.refused else ""
    return f"no engine is built, {count(len(check.refused), 'refusal')}{first}"


def _named(nodes: list[CheckedNode]) -> str:
    told = [f"`{plain(each.node)[:80]}` {each.verdict} ({plain(each.because)})" for each in nodes[:_SHOWN]]
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return ", ".join(told) + more
