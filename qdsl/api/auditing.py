"""`audit`: what a finished file holds of quantization, what of it will run, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.auditing.asked import Asked
from qdsl.auditing.auditing import Wanted
from qdsl.auditing.auditing import audit as audit_model
from qdsl.auditing.fixing import Mended, mend
from qdsl.auditing.report import AuditReport, TensorError, at_least
from qdsl.causes.records import Ask, Causes
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.engines.asked import RTX, examination, require_target
from qdsl.graph import Model, load, save
from qdsl.graph.collector import collector_paused
from qdsl.graph.constants import outside
from qdsl.lang import Loaded, require_complete
from qdsl.lang import load as load_recipe
from qdsl.lang.recipe import Recipe
from qdsl.measure.events import Event, Listener, silent
from qdsl.spec.engine import EngineSeen
from qdsl.spec.plan import AS_IT_IS
from qdsl.targets import TARGETS
from qdsl.targets.blocks import block_problems
from qdsl.work.writing import make_place, require_place

DEFAULT_TARGET = "ort"

Look = Callable[[Path], EngineSeen]


@dataclass(frozen=True)
class AuditResult:
    """`report` is all that was found. `diagnostics` are errors of the recipe's waivers (one that allows nothing, a
    selector that picks nothing) and warnings of the model and the recipe. With `fix`, `mended` is what was done, and
    `report` speaks of the file that was written."""

    report: AuditReport
    diagnostics: tuple[Diagnostic, ...]
    mended: Mended | None = None

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
    fix: str | Path | None = None,
    causes: bool = False,
    samples: int | None = None,
    floats: str | Path | None = None,
    engine: str | Path | None = None,
    capability: str | None = None,
    manifest: str | Path | None = None,
    listener: Listener = silent,
) -> AuditResult:
    """Audit the model file `path`, whoever made it, for `target`, or for each of the recipe's targets, or for `ort`.

    `recipe` is held against the file: what it asks and the file lacks or has otherwise, and the reverse; its `allow`
    statements waive findings. One that decides nothing (`quantize none`, or no `quantize` at all) only waives, and its
    own model is not looked at. `sets` are its parameters.

    Nothing is run, but for `causes`: then the file runs in ONNX Runtime, on `samples` of the recipe's data (drawn
    inputs where there are none; None: 4, or 16 where the outputs hold few numbers), and the report says which tensors
    the error of the outputs comes from. `floats` is the float model that the file was made from, where the recipe has
    none. `listener` hears how far that is. A file that does not run is told among the diagnostics.

    `engine` is "rtx": TensorRT-RTX parses and builds the file in a process of its own, without a GPU, for a GPU of a
    compute `capability` ("sm86", where it is None); what came of it stands in the report and among its findings. Or it
    is the path of a file that says what the layers of an engine compute that was built elsewhere (`trtexec
    --exportLayerInfo`, 8.x, 10.x or 11.x), held against what the file has in integers, or against the `manifest` that
    was emitted beside it. The target is then `tensorrt`.

    Without `fix` nothing is written. With it, what findings call for and needs no data is mended in a copy, which is
    written to `fix` and audited again; what is waived stays as it is. Raises QdslError for a file that is no model, a
    recipe with errors, a target that there is not, and fix-place, model-write; with `engine`, engine-choice,
    engine-target, engine-layers, rtx-capability, rtx-absent.
    """
    target = target if engine is None else require_target(target)
    look = None if engine is None else _examination(engine, capability, manifest, fix)
    held = None if recipe is None else load_recipe(recipe, sets=sets or {})
    diags = Diagnostics()
    diags.extend(held.diagnostics if held is not None else ())
    wanted = _wanted(held, target, diags)
    model = load(path)
    if fix is not None:
        _require_other(model, Path(path), Path(fix))
    diags.extend(each for each in model.diagnostics if each.severity is not Severity.NOTE)
    statements = None if held is None else held.recipe
    seen = wanted if fix is not None else _looked(wanted, look, path, listener)
    report, mended = audit_model(model, seen, file=str(path), recipe=statements, diags=diags), None
    if fix is not None:
        mended = mend(model, report.findings)
        make_place(Path(fix).parent)
        save(model, fix)
        seen = _looked(wanted, look, fix, listener)
        report = audit_model(load(fix), seen, file=str(fix), recipe=statements, diags=Diagnostics())
    if causes:
        ask = Ask(samples, None if floats is None else Path(floats), heard=_heard(listener))
        report = _with_causes(report, load(path if fix is None else fix), ask, held, target, diags)
    return AuditResult(report, diags.sorted(), mended)


def _examination(
    engine: str | Path, capability: str | None, manifest: str | Path | None, fix: str | Path | None
) -> Look:
    """Raises QdslError engine-choice, engine-layers, rtx-capability, rtx-absent."""
    path = Path(engine)
    if str(engine) == RTX or not (path.suffix or path.exists()):
        return examination(str(engine), capability)
    if fix is not None:
        headline = f"`{path}` is of an engine of the file, and says nothing of a mended copy"
        raise QdslError([Diagnostic("engine-layers", headline, help=("audit it without `--fix`",))])
    from qdsl.harness.inspecting import examination as inspecting

    return inspecting(path, None if manifest is None else Path(manifest))


def _looked(wanted: Sequence[Wanted], look: Look | None, path: str | Path, listener: Listener) -> Sequence[Wanted]:
    """The targets, with what an engine of the file at `path` is seen to compute."""
    if look is None:
        return wanted
    listener(Event("engine", "an engine of the file", 0, 1))
    seen = look(Path(path))
    listener(Event("engine", "an engine of the file", 1, 1))
    return [replace(each, engine=seen) for each in wanted]


def _with_causes(
    report: AuditReport, model: Model, ask: Ask, held: Loaded | None, target: str | None, diags: Diagnostics
) -> AuditReport:
    """The report with what rounding costs inside the file and at its outputs."""
    from qdsl.measure.causing import causes_of, inputs_for  # these take longer to load than most files to audit
    from qdsl.work.prepared import prepare

    prepared = None
    try:
        if held is not None and held.recipe.model is not None:
            require_complete(held.recipe)
            prepared = prepare(held)
        made = prepared is not None and held is not None and _decides(held.recipe, target)
        floats = prepared.model if made and prepared is not None else None
        found = causes_of(model, ask, inputs_for(model.view(), ask.samples, prepared), floats)
    except QdslError as error:
        diags.extend(error.diagnostics)
        return report
    return replace(report, causes=found, errors=_errors(found))


def _errors(found: Causes) -> dict[str, TensorError]:
    return {each.tensor: TensorError(each.own_db, each.inherited_db) for each in found.causes}


def _heard(listener: Listener) -> Callable[[str, int, int], None]:
    return lambda text, done, total: listener(Event("causes", text, done, total))


def _require_other(model: Model, path: Path, out: Path) -> None:
    """Raise QdslError where the mended file would take the place of the given one, of its weights, or of a folder."""
    values = (outside(model.lazy(constant.name)) for constant in model.constants())
    beside = {value.path for value in values if value is not None}
    what = ""
    if out.is_dir():
        what = "is a folder"
    elif out.exists() and out.samefile(path):
        what = "is the file that is audited"
    elif out.exists() and any(out.samefile(each) for each in beside if each.exists()):
        what = "holds weights of the file that is audited"
    if what:
        raise QdslError([Diagnostic("fix-place", f"`{out}` {what}", help=("name a new file",))])
    require_place(out.parent)


def _wanted(loaded: Loaded | None, target: str | None, diags: Diagnostics) -> Sequence[Wanted]:
    if loaded is None:
        return [Wanted(target or DEFAULT_TARGET)]
    asked = _asked(loaded, target, diags) if _decides(loaded.recipe, target) else {}
    blocks = {block.name: block for block in loaded.recipe.targets}
    names = [target] if target is not None else [*blocks] or [DEFAULT_TARGET]
    diags.extend(block_problems(loaded.recipe, names))
    return [
        Wanted(name, blocks[name].cpus if name in blocks else (), blocks.get(name), asked.get(name)) for name in names
    ]


def _decides(recipe: Recipe, target: str | None) -> bool:
    """Whether the recipe says how to quantize for a target that is audited and has a table."""
    audited = [each for each in recipe.targets if target in (None, each.name) and each.name in TARGETS]
    modes = [each.mode or recipe.mode for each in audited] if recipe.targets else [recipe.mode]
    return any(mode is not None and mode.kind != AS_IT_IS for mode in modes)


def _asked(loaded: Loaded, target: str | None, diags: Diagnostics) -> dict[str, Asked]:
    """What the recipe decides for each target, under the choices of its lock."""
    from qdsl.auditing.asking import asked_by  # planning takes longer to load than most files to audit
    from qdsl.tune.choices import foreseen
    from qdsl.work.deciding import decide_all
    from qdsl.work.prepared import prepare

    require_complete(loaded.recipe)
    prepared = prepare(loaded)
    names = [block.name for block in loaded.recipe.targets] if target is None else [target]
    found = [
        each
        for name in names
        if name in TARGETS
        for each in foreseen(prepared, decide_all(prepared, name, Diagnostics()))
    ]
    diags.extend(each for each in prepared.warnings if each.severity is not Severity.NOTE)
    return {each.plan.target: asked_by(each, prepared) for each in found if each.plan.mode != AS_IT_IS}
