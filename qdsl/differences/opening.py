"""What `qdsl diff` is given, as sides: a recipe, a plan, a build, a lock or a model, on disk or at a revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.differences.at_revision import file_at, recipe_at
from qdsl.differences.git import is_shallow, revision_of
from qdsl.differences.of_lock import side_of_lock
from qdsl.differences.of_plan import side_of_plan
from qdsl.differences.side import Side
from qdsl.lang import Loaded, loads, require_complete
from qdsl.lang import load as load_recipe
from qdsl.lang.files import read as read_text
from qdsl.lang.format import said
from qdsl.lock import read as read_lock
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import json_data
from qdsl.spec.plan_json import from_data
from qdsl.tune.choices import foreseen
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare

PLAN_FILE = "plan.json"
_LARGEST_PLAN = 1 << 28
_KINDS = {".q": "recipe", ".lock": "lock", ".json": "plan", ".onnx": "model"}


@dataclass(frozen=True, slots=True)
class Ask:
    """How sides are wanted: of one `target` (None: all), with values for parameters of recipes. `chosen`: plans of
    recipes with what their lock chose among alternatives, as in the plan of a build; without, as the recipe alone says,
    since a lock is stale once its recipe changes, and its choices are then none that the change made."""

    target: str | None = None
    sets: Mapping[str, str] = field(default_factory=dict)
    chosen: bool = False


def sides(text: str, ask: Ask) -> tuple[Side, ...]:
    """What `text` names: one side per target. Raises QdslError with what is wrong with it."""
    path = Path(text)
    found = None if _exists(path) else revision_of(text)
    if found is None:
        return _of_file(path, text, ask)
    revision, inside = found
    if inside.suffix == ".q":
        with recipe_at(revision, inside) as (file, loaded):
            return _of_recipe(loaded, file, text, ask)
    with file_at(revision, inside) as file:
        return _of_file(file, text, ask)


def _of_file(path: Path, name: str, ask: Ask) -> tuple[Side, ...]:
    if path.is_dir():
        path = path / PLAN_FILE
        if not _exists(path):
            raise _error(f"there is no {PLAN_FILE} in `{name}`", "name the folder of a build, build/<recipe>")
    if not _exists(path):
        far = ":" in name and is_shallow()
        help = "the clone is shallow, and has no older revisions: `git fetch --unshallow`" if far else _TAKES
        raise _error(f"there is no file `{name[:200]}`, and no revision of that name", help)
    kind = _KINDS.get(path.suffix)
    if kind == "recipe":
        return _of_recipe(load_recipe(path, sets=ask.sets), path, name, ask)
    if kind == "lock":
        lock = read_lock(path)
        assert lock is not None, "it exists"
        return (side_of_lock(lock, name),)
    if kind == "plan":
        return _of_plans(path, name, ask.target)
    from qdsl.differences.of_model import side_of_model  # it loads numpy

    return (side_of_model(path, name, ask.target),)


_TAKES = "what can be compared: recipes (.q), plans (plan.json or the folder of a build), locks (.lock), models (.onnx)"


def _of_recipe(loaded: Loaded, file: Path, name: str, ask: Ask) -> tuple[Side, ...]:
    return _planned(loaded, tuple(said(_text(file), str(file))), name, ask)


def _planned(loaded: Loaded, lines: tuple[str, ...], name: str, ask: Ask) -> tuple[Side, ...]:
    """The plans of a recipe. Where its model cannot be planned, its statements alone, and why."""
    if ask.target is not None and all(block.name != ask.target for block in loaded.recipe.targets):
        return ()
    try:
        require_complete(loaded.recipe)
        prepared = prepare(loaded)
        decided = decide_all(prepared, ask.target, Diagnostics())
        decided = foreseen(prepared, decided) if ask.chosen else decided
    except QdslError as error:
        first = error.diagnostics[0]
        return (Side(name, "recipe", lines=lines, why=f"not planned: {first.headline}"),)
    return tuple(side_of_plan(one.plan, name, "recipe", lines) for one in decided)


def of_recipe_text(text: str, file: Path) -> tuple[Side, ...]:
    """The plans of a recipe's text, as if it stood in `file`. Raises QdslError with what is wrong in it."""
    lines = tuple(said(text, file.name))
    loaded = loads(text, name=str(file), directory=file.parent)
    return _planned(loaded, lines, str(file), Ask())


def _text(file: Path) -> str:
    diags = Diagnostics()
    text = read_text(file, None, diags)
    diags.raise_errors()
    return text or ""


def _of_plans(path: Path, name: str, target: str | None) -> tuple[Side, ...]:
    try:
        if path.stat().st_size > _LARGEST_PLAN:
            raise UnfitError("it is larger than 256 MiB")
        data = json_data(path.read_text(encoding="utf-8"))
        plans = [data] if "version" in data else [data[key] for key in sorted(data.keys())]
    except (OSError, UnicodeDecodeError, UnfitError, TypeError, AttributeError) as fault:
        raise _error(f"`{name}` is not a plan that can be read: {str(fault)[:200]}", _TAKES) from fault
    found = tuple(side_of_plan(from_data(each), name) for each in plans)
    return tuple(side for side in found if target in (None, side.target))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _error(headline: str, help: str) -> QdslError:
    return QdslError([Diagnostic("diff-input", headline, help=(help,))])
