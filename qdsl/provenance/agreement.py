"""Whether a file, its recipe, its lock and its float model still are what they were when the file was made."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from onnx import ModelProto

from qdsl.diag import QdslError
from qdsl.lang import Loaded
from qdsl.lang import load as load_recipe
from qdsl.lang.recipe import Recipe
from qdsl.lock import Lock
from qdsl.provenance.content import content_of
from qdsl.provenance.making import named_sha256, statements_sha256
from qdsl.provenance.marks import data_used, facts, split
from qdsl.provenance.recipe_files import recipe_files
from qdsl.provenance.records import MARK, Content, Provenance, RecipeFile, name_problem
from qdsl.spec.words import count, plain

SAME, CHANGED, UNKNOWN = "same", "changed", "unknown"
_SHOWN = 20  # differences of one kind that are told one by one
_MOST_LINES, _LONGEST = 400, 300
_BLOCK = 1 << 20
_PARTS: tuple[tuple[str, str], ...] = (
    ("nodes", "its nodes are not those that were written"),
    ("constants", "its constants are not those that were written"),
    ("declarations", "what it declares (inputs, outputs, types, versions) is not what was written"),
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """One thing held against what the file says of it. `what` is "file", "recipe", "lock" or "model", `state` "same",
    "changed" or "unknown" (there is nothing to hold it against), `where` what was looked at, `told` why in words, and
    `diff` the lines in which a recipe's text differs, as `diff -u` writes them."""

    what: str
    state: str
    where: str = ""
    told: tuple[str, ...] = ()
    diff: tuple[str, ...] = field(default=(), repr=False)


def of_file(proto: ModelProto, path: Path, known: Provenance) -> Agreement:
    """Whether the model in the file is the one that was written."""
    try:
        now = content_of(proto, path.parent)
    except QdslError as error:
        return Agreement("file", UNKNOWN, path.name, (error.diagnostics[0].headline,))
    except OSError as error:
        return Agreement("file", UNKNOWN, path.name, (f"it cannot be read: {error.strerror or type(error).__name__}",))
    return _agreed("file", path.name, _edited(now, known.content))


def _edited(now: Content, then: Content) -> Iterator[str]:
    for part, words in _PARTS:
        if getattr(now, part) != getattr(then, part):
            yield words


def of_recipe(path: Path, known: Provenance) -> tuple[Agreement, Recipe | None]:
    """Whether the recipe at `path` is the one that the file was made from; and the recipe, where it can be read."""
    try:
        recipe = _loaded(path, known).recipe
    except QdslError as error:
        why = f"it cannot be read: {error.diagnostics[0].headline}"
        return Agreement("recipe", UNKNOWN, str(path), (why,)), None
    now = recipe_files(recipe)
    if [(file.name, file.sha256) for file in now] == [(file.name, file.sha256) for file in known.files]:
        return _agreed("recipe", str(path), _parameters(recipe, known)), recipe
    as_then = statements_sha256(recipe) == known.statements
    told = [*_changed_files(now, known.files), *_parameters(recipe, known)]
    if as_then:
        told.append(
            "what calibration and the plan rest on says the same: layout, comments or what only measures changed"
        )
    return replace(_agreed("recipe", str(path), told), diff=tuple(_diff(now, known.files))), recipe


def _loaded(path: Path, known: Provenance) -> Loaded:
    """The recipe with the values that its parameters had then, or with its own where they do not fit any more."""
    values = {} if known.parameters is None else dict(known.parameters)
    try:
        return load_recipe(path, sets=values)
    except QdslError:
        return load_recipe(path)


def _parameters(recipe: Recipe, known: Provenance) -> Iterator[str]:
    if known.parameters is None:
        return
    then, now = dict(known.parameters), dict(recipe.params)
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            yield f"parameter {name} is {now.get(name, 'gone')}, was {then.get(name, 'not there')}"


def _changed_files(now: Sequence[RecipeFile], then: Sequence[RecipeFile]) -> Iterator[str]:
    here, there = {file.name: file for file in now}, {file.name: file for file in then}
    for name in dict.fromkeys((*there, *here)):
        if name not in here or name not in there:
            yield f"{name} is {'gone' if name not in here else 'new'}"
        elif here[name].sha256 != there[name].sha256:
            yield f"{name} changed"


def _diff(now: Sequence[RecipeFile], then: Sequence[RecipeFile]) -> Iterator[str]:
    """Where texts are carried; bounded, since they come from a file that anybody may have written."""
    here = {file.name: file.text or "" for file in now}
    for file in then:
        if file.text is None or here.get(file.name, "") == file.text:
            continue
        before, after = _lines(file.text), _lines(here.get(file.name, ""))
        if before is None or after is None:
            yield f"{file.name}: too long to be compared line by line"
            continue
        yield from islice(
            difflib.unified_diff(before, after, f"{file.name} in the file", f"{file.name} now", lineterm="", n=1),
            _MOST_LINES,
        )


def _lines(text: str) -> list[str] | None:
    lines = [line[:_LONGEST] for line in text.splitlines()[: 5 * _MOST_LINES + 1]]
    return lines if len(lines) <= 5 * _MOST_LINES else None


def of_lock(path: Path, lock: Lock, known: Provenance) -> Agreement:
    """Whether a lock pins what the file was made from."""
    told = [
        *_named("model", dict(lock.model), dict(known.model)),
        *_named("table", dict(lock.capability), dict(known.tables)),
        *_datasets(lock, known),
        *_pinned(lock, known),
    ]
    if named_sha256(lock.recipe) != known.statements:
        told.insert(0, "it was made for a recipe that says something else")
    return _agreed("lock", str(path), told)


def _named(word: str, lock: Mapping[str, str], known: Mapping[str, str]) -> Iterator[str]:
    """Those that the file names: a lock is for every target of its recipe."""
    for name, digest in known.items():
        if lock.get(name) != digest:
            yield f"{word} {plain(name[:100])} is {'not in it' if name not in lock else 'another in it'}"


def _datasets(lock: Lock, known: Provenance) -> Iterator[str]:
    there = {used.name: used for used in data_used(lock.data, [used.name for used in known.data])}
    for used in known.data:
        if there.get(used.name) != used:
            words = "not in it" if used.name not in there else "its files are others in it, or hold something else"
            yield f"data {plain(used.name)}: {words}"


def _pinned(lock: Lock, known: Provenance) -> Iterator[str]:
    """Which ranges, means and choices it has otherwise, by name, and how many that the file rests on it does not."""
    then = split(known.pinned)
    there: dict[str, set[str]] = {}  # a lock for several targets may have several ranges of one tensor
    about: dict[str, str] = {}
    for fact in facts(lock, known.target):
        mark = fact.mark
        name, value = mark[: MARK // 2], mark[MARK // 2 :]
        there.setdefault(name, set()).add(value)
        about[name] = fact.about
    for name, values in there.items():
        if name in then and then[name] not in values:
            yield f"{plain(about[name][:100])} is another in it"
    lost = len(then.keys() - there.keys())
    if lost:
        yield f"{count(lost, 'range, mean or choice', 'ranges, means or choices')} of the file not in it"


def of_model(recipe: Recipe, known: Provenance) -> Agreement:
    """Whether the float model that the recipe names is the one that was quantized, with its external data."""
    if recipe.model is None:
        return Agreement("model", UNKNOWN, "", ("the recipe names none",))
    place = Path(recipe.model.location)
    shown = posixpath.normpath(place.as_posix())
    told: list[str] = []
    for number, (name, digest) in enumerate(known.model):
        path = place if name == place.name or len(known.model) == 1 else _beside(place, name)
        found = None if path is None else _sha256(path)
        if found is None and number == 0 and path == place:
            return Agreement("model", UNKNOWN, shown, ("there is no such file that can be read",))
        if found != digest:
            told.append(f"{plain(name[:100])} {'is not there' if found is None else 'changed'}")
    return _agreed("model", shown, told)


def _beside(model: Path, name: str) -> Path | None:
    """A file of external data below the model's folder; None for a name that leads out of it."""
    if name_problem(name) or name.startswith(".."):
        return None
    path = model.parent / name
    try:
        inside = path.resolve().is_relative_to(model.parent.resolve())
    except (OSError, RuntimeError):
        return None
    return path if inside else None


def _sha256(path: Path) -> str | None:
    """None for what is no file that can be read."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def _agreed(what: str, where: str, told: Iterable[str]) -> Agreement:
    said = list(told)
    more = len(said) - _SHOWN
    shown = (*said[:_SHOWN], f"and {more} more") if more > 1 else tuple(said)
    return Agreement(what, CHANGED if said else SAME, where, shown)
