"""Artifacts that were just made, taken to a builder of engines: what `compile --check` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.waivers import Waivers
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.engines.asked import Examination
from qdsl.finished.collapse import collapse
from qdsl.finished.reading import read
from qdsl.graph import load
from qdsl.harness.engine_checks import CheckedNode, EngineCheck
from qdsl.lang.recipe import Recipe, Target
from qdsl.measure.budgets import Budget
from qdsl.measure.measuring import Made
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.spec.engine import (
    BUILD,
    BUILT,
    PARSE,
    QUANT_MANIFEST,
    UNDECIDED,
    UNKNOWN,
    EngineSeen,
    EngineVerdict,
    QuantManifest,
)
from qdsl.spec.words import count, plain

SURVIVAL = ("qdq", ("survives",))
_WAIVES = "half_quantized_op"  # the rule whose waivers say that a node may compute in floats
_SHOWN = 3
_NOT_TOLD = EngineVerdict(UNKNOWN, because="the engine does not speak of it")


def checked(made: Made, look: Examination, recipe: Recipe, block: Target | None) -> EngineCheck:
    """An engine of the artifact, node by node beside its manifest. Raises QdslError artifact-write where the manifest
    that was just written cannot be read."""
    seen = look(made.emitted.model)
    found = EngineCheck(
        made.plan.target, seen.source, seen.stage, refused=seen.refused, notes=seen.notes, reason=seen.reason
    )
    return found if seen.stage != BUILT else replace(found, nodes=_nodes(made, seen, recipe, block))


def _nodes(made: Made, seen: EngineSeen, recipe: Recipe, block: Target | None) -> tuple[CheckedNode, ...]:
    manifest, waived = _manifest(made), _waived(made, recipe, block, seen.verdicts)
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
            each.waived or waived.get(each.node, ""),
        )
        for each, verdict in told
    )


def _manifest(made: Made) -> QuantManifest:
    path = made.emitted.directory / QUANT_MANIFEST
    try:
        return decode(QuantManifest, json_data(path.read_text(encoding="utf-8")), QUANT_MANIFEST)
    except (OSError, UnfitError) as error:
        help = ("compile again, with nothing else writing into the folder of the build",)
        raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be read back: {error}", help=help)]) from None


def _waived(made: Made, recipe: Recipe, block: Target | None, nodes: Iterable[str]) -> Mapping[str, str]:
    """Why nodes may compute in floats, by name: the `allow` statements of the recipe on half quantized operators."""
    if not any(each.code == _WAIVES for each in (*recipe.allows, *(() if block is None else block.allows))):
        return {}
    finished = read(load(made.emitted.model))
    waivers = Waivers(recipe, finished, collapse(finished).view, Diagnostics())
    asked = [Finding(_WAIVES, Severity.WARNING, Place("node", name), "", "") for name in nodes]
    return {each.place.name: each.waived for each in waivers.applied(asked, block)[0] if each.waived}


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
    other = [each for each in check.nodes if not each.passes]
    if check.stage != BUILT:
        headline = f"{where}: {_ended(check)}"
    elif other:
        headline = f"{where}: {count(len(other), 'node')} of {len(check.nodes)} otherwise than planned: {_named(other)}"
    else:
        return ()
    notes = tuple(f"{plain(each.node)[:200]}: {plain(each.text)[:300]}" for each in check.refused[:_SHOWN])
    return (Diagnostic("engine-otherwise", headline, notes=notes, severity=Severity.WARNING),)


def _ended(check: EngineCheck) -> str:
    if check.stage == BUILT:
        return "nothing was planned in integers"
    if check.stage == UNDECIDED:
        return f"undecided: {plain(check.reason)}"
    first = f": {plain(check.refused[0].text)[:200]}" if check.refused else ""
    return f"no engine is built, {count(len(check.refused), 'refusal')}{first}"


def _named(nodes: list[CheckedNode]) -> str:
    told = [f"`{plain(each.node)[:80]}` {each.verdict} ({plain(each.because)})" for each in nodes[:_SHOWN]]
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return ", ".join(told) + more
