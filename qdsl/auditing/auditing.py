"""The audit of one finished file: read, collapsed, judged for each target, and looked at by every rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qdsl.auditing import facts
from qdsl.auditing.asked import Asked
from qdsl.auditing.audience import audience
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.held import hold
from qdsl.auditing.index import rule_named, rules
from qdsl.auditing.order import in_order
from qdsl.auditing.report import AuditReport, Section
from qdsl.auditing.rule import Audited
from qdsl.auditing.waivers import Waivers, unused
from qdsl.capability.sums import named
from qdsl.diag import Diagnostics, Span
from qdsl.finished.collapse import collapse
from qdsl.finished.reading import read
from qdsl.graph import Model
from qdsl.graph.collector import collector_paused
from qdsl.lang.recipe import Recipe, Target
from qdsl.spec.engine import EngineSeen
from qdsl.version import __version__

if TYPE_CHECKING:
    from qdsl.auditing.report import NodeFacts
    from qdsl.finished.collapsed import Collapsed
    from qdsl.finished.records import Finished


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target to audit for: its name, the kinds of CPU that are asked about, in a recipe's words (() for all), its
    block in the recipe, and what the recipe decided for it; None where there is none, or where it decides nothing.
    `engine` is what was seen of an engine of the file, None where nobody looked."""

    target: str
    cpus: tuple[str, ...] = ()
    block: Target | None = None
    asked: Asked | None = None
    engine: EngineSeen | None = None


@collector_paused()
def audit(
    model: Model, wanted: Sequence[Wanted], *, file: str = "", recipe: Recipe | None = None, diags: Diagnostics
) -> AuditReport:
    """What `model` holds, what runs of it on each of `wanted`, and what is wrong with it. `file` is its path as told.
    Waivers that allow nothing, and what is wrong with their selectors, go to `diags` as errors; the report is whole
    all the same. Raises QdslError for a target that there is not. Linear in the graph."""
    with np.errstate(all="ignore"):  # scales of a hostile file may be zero, infinite or no number: rules say so
        return _audit(model, wanted, file, recipe, diags)


def _audit(model: Model, wanted: Sequence[Wanted], file: str, recipe: Recipe | None, diags: Diagnostics) -> AuditReport:
    finished = read(model)
    collapsed = collapse(finished)
    nodes = facts.node_facts(collapsed.view)
    waivers = None if recipe is None else Waivers(recipe, finished, collapsed.view, diags)
    sections = tuple(_section(each, finished, collapsed, nodes, waivers) for each in wanted)
    if recipe is not None and _all_of(recipe, wanted):
        unused((section.waivers for section in sections), diags)
    found = dict.fromkeys(each.rule for section in sections for each in section.findings)
    return AuditReport(
        file=file or model.name,
        sha256=model.source.sha256 if model.source is not None else "",
        bytes=facts.file_bytes(model),
        producer=facts.producer(model),
        dialects=tuple((each.name, each.because) for each in finished.dialects),
        opsets=facts.opsets(model),
        inputs=collapsed.view.inputs,
        outputs=collapsed.view.outputs,
        nodes=nodes,
        tensors=facts.tensor_facts(finished),
        types=facts.types(collapsed.view),
        sections=sections,
        recipe="" if recipe is None else recipe.path,
        version=__version__,
        passed=facts.passed(finished),
        explanations={rule: rule_named(rule).summary for rule in found},
    )


def _section(
    wanted: Wanted,
    finished: Finished,
    collapsed: Collapsed,
    nodes: tuple[NodeFacts, ...],
    waivers: Waivers | None,
) -> Section:
    seen = audience(wanted.target, wanted.block)
    cpus = named(seen.capability.cpus, wanted.cpus)
    # The predictor puts in the pairs that the runtime adds: rules see the file's own.
    judged = seen.runs(finished, replace(collapsed, edges=collapsed.edges.copied()))
    held = None if wanted.asked is None else hold(wanted.asked, finished, collapsed)
    audited = Audited(finished, collapsed, wanted.target, seen.capability, judged, cpus, held, wanted.engine)
    lines = {} if wanted.asked is None else wanted.asked.lines()
    found = in_order(_found(audited, lines), finished.view)
    waived, statements = (found, ()) if waivers is None else waivers.applied(found, wanted.block)
    counts, floats = facts.counts(nodes, collapsed.view, judged, seen.capability)
    return Section(
        target=wanted.target,
        table=seen.table,
        cpus=tuple(sorted(cpus)),
        counts=counts,
        runs=judged,
        floats=floats,
        findings=waived,
        waivers=statements,
        unmatched=None if held is None else held.unmatched,
        matched=None if held is None else held.matched,
        engine=wanted.engine,
    )


def _found(audited: Audited, lines: Mapping[Place, Span]) -> Iterable[Finding]:
    """What every rule of the target finds; each finding names the target, and the line that decided of its node or
    tensor, where the rule left that open."""
    for rule in rules(audited.target):
        for found in rule.check(audited):
            line = found.line or lines.get(replace(found.place, port=-1))
            yield replace(found, targets=found.targets or (audited.target,), line=line)


def _all_of(recipe: Recipe, wanted: Sequence[Wanted]) -> bool:
    """Whether every target of the recipe is audited: a waiver may be for another one."""
    return {target.name for target in recipe.targets} <= {each.target for each in wanted}
