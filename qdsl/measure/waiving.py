"""Which nodes of an artifact may compute in floats in an engine, and why: what the recipe's `allow` lines say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.waivers import Waivers
from qdsl.diag import Diagnostics, Severity
from qdsl.finished.collapse import collapse
from qdsl.finished.reading import read
from qdsl.graph import load
from qdsl.lang.recipe import Recipe, Target
from qdsl.spec.engine import QUANT_MANIFEST, QuantManifest
from qdsl.spec.engine_json import manifest_of, manifest_text
from qdsl.work.writing import write_text

RULE = "half_quantized_op"  # whose waivers say that a node may compute in floats


def note_waivers(model: Path, recipe: Recipe, block: Target | None) -> None:
    """Write into the manifest beside an emitted model, where there is one, why nodes may part from the plan. Raises
    QdslError artifact-write."""
    path = model.parent / QUANT_MANIFEST
    if not _allows(recipe, block) or not path.is_file():
        return
    manifest = manifest_of(path.read_text(encoding="utf-8"))
    write_text(path, manifest_text(_waived(manifest, model, recipe, block)))


def _allows(recipe: Recipe, block: Target | None) -> bool:
    return any(each.code == RULE for each in (*recipe.allows, *(() if block is None else block.allows)))


def _waived(manifest: QuantManifest, model: Path, recipe: Recipe, block: Target | None) -> QuantManifest:
    reasons = _reasons((each.node for each in manifest.nodes), model, recipe, block)
    nodes = (replace(each, waived=reasons.get(each.node, each.waived)) for each in manifest.nodes)
    return replace(manifest, nodes=tuple(nodes))


def _reasons(nodes: Iterable[str], model: Path, recipe: Recipe, block: Target | None) -> Mapping[str, str]:
    """Why nodes may compute in floats, by name."""
    finished = read(load(model))
    waivers = Waivers(recipe, finished, collapse(finished).view, Diagnostics())
    asked = [Finding(RULE, Severity.WARNING, Place("node", name), "", "") for name in nodes]
    return {each.place.name: each.waived for each in waivers.applied(asked, block)[0] if each.waived}
