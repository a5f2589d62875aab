"""Whether a lock still fits its recipe: how that is told, and what can be said without loading model or data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from qdsl import lock as locks
from qdsl.cascade.rule_words import Origins
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.lang.recipe import Recipe
from qdsl.lock import Change, Lock

SUFFIX = ".lock"
_SHOWN = 20
_LONGEST = 200  # characters of one change: names come from files that nobody vouches for
_BLOCK = 1 << 20


def stale(path: Path, changes: Sequence[Change], span: Span) -> Diagnostic:
    """What makes the lock at `path` stale, `changes` being at least one; `span` where no line speaks of the first."""
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    notes = [change.text[:_LONGEST] for change in changes[1 : _SHOWN + 1]]
    if len(changes) > _SHOWN + 1:
        notes.append(f"and {len(changes) - _SHOWN - 1} more")
    headline = f"`{path.name}` is stale: {changes[0].text[:_LONGEST]}{more}"
    return Diagnostic("lock-stale", headline, changes[0].span or span, notes=tuple(notes))


def lock_problems(recipe: Recipe) -> tuple[Diagnostic, ...]:
    """What is wrong with the lock beside a recipe (lock-invalid, lock-stale): its statements and, where they are there,
    its model file and calibration caches are held against it. The data is not looked at. Nothing where there is no
    lock."""
    path = Path(recipe.path).with_suffix(SUFFIX)
    try:
        found = locks.read(path)
    except QdslError as error:
        return error.diagnostics
    if found is None:
        return ()
    changes = [*locks.recipe_changes(found, locks.meaning(recipe)), *_model(recipe, found), *_caches(recipe, found)]
    return (stale(path, changes, recipe.span),) if changes else ()


def _model(recipe: Recipe, lock: Lock) -> list[Change]:
    """The model file; what is beside it is only hashed once it is loaded."""
    file = Path(recipe.model.location) if recipe.model is not None else None
    if file is None or recipe.model is None or not file.is_file():
        return []
    known = dict(lock.model)
    return locks.model_changes(lock, tuple(sorted({**known, file.name: _sha256(file)}.items())), recipe.model.span)


def _caches(recipe: Recipe, lock: Lock) -> list[Change]:
    """Calibration caches that hold something else. Which ones a plan takes ranges from is only known with the model."""
    known, relative = dict(lock.caches), Origins(recipe).relative
    named = {relative(said.cache_path): said for said in recipe.caches() if said.cache_path is not None}
    there = {name: said for name, said in named.items() if name in known and Path(said.cache_path or "").is_file()}
    now = {name: _sha256(Path(said.cache_path or "")) for name, said in there.items()}
    span = next((said.span for name, said in there.items() if now[name] != known[name]), None)
    return locks.cache_changes(lock, tuple(sorted({**known, **now}.items())), span)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
