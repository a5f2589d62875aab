"""`audit`: what a finished file holds of quantization, what of it will run, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.auditing.auditing import Wanted
from qdsl.auditing.auditing import audit as audit_model
from qdsl.auditing.report import AuditReport, at_least
from qdsl.diag import Diagnostic, Diagnostics, Severity
from qdsl.graph import load
from qdsl.graph.collector import collector_paused
from qdsl.lang import load as load_recipe
from qdsl.lang.recipe import Recipe

DEFAULT_TARGET = "ort"


@dataclass(frozen=True)
class AuditResult:
    """`report` is all that was found. `diagnostics` are errors of the recipe's waivers (one that allows nothing, a
    selector that picks nothing) and warnings of the model and the recipe."""

    report: AuditReport
    diagnostics: tuple[Diagnostic, ...]

    @property
    def has_errors(self) -> bool:
        return any(each.severity is Severity.ERROR for each in self.diagnostics)

    def fails(self, level: Severity | None) -> bool:
        """Whether a finding of `level` or graver stands that no waiver allows; None: none counts."""
        worst = self.report.worst()
        return level is not None and worst is not None and at_least(worst, level)


@collector_paused()
def audit(
    path: str | Path,
    *,
    recipe: str | Path | None = None,
    target: str | None = None,
    sets: Mapping[str, str] | None = None,
) -> AuditResult:
    """Audit the model file `path`, whoever made it, for `target`, or for each of the recipe's targets, or for `ort`.

    `recipe` is held against the file: what it asks and the file lacks or has otherwise, and the reverse; its `allow`
    statements waive findings. One that decides nothing (`quantize none`, or no `quantize` at all) only waives, and
    needs no model of its own. `sets` are its parameters. Nothing is run, and nothing written. Raises QdslError for a
    file that is no model, a recipe with errors and a target that there is not.
    """
    held = None if recipe is None else load_recipe(recipe, sets=sets or {})
    diags = Diagnostics()
    diags.extend(held.diagnostics if held is not None else ())
    wanted = _wanted(None if held is None else held.recipe, target)
    model = load(path)
    diags.extend(each for each in model.diagnostics if each.severity is not Severity.NOTE)
    report = audit_model(model, wanted, file=str(path), recipe=None if held is None else held.recipe, diags=diags)
    return AuditResult(report, diags.sorted())


def _wanted(recipe: Recipe | None, target: str | None) -> Sequence[Wanted]:
    blocks = {block.name: block for block in (recipe.targets if recipe is not None else ())}
    names = [target] if target is not None else [*blocks] or [DEFAULT_TARGET]
    return [Wanted(name, blocks[name].cpus if name in blocks else (), blocks.get(name)) for name in names]
