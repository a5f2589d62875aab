"""Files as they were at a revision, in a folder of their own: a recipe with its bases, its lock and its model.

A model that git does not keep is that of the working tree: the recipe is then held against the same one as today's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from qdsl.diag import Diagnostic, QdslError
from qdsl.differences.git import Revision
from qdsl.lang import Loaded, load, syntax
from qdsl.lang.parse import parse
from qdsl.lang.recipe import Recipe

_LONGEST_CHAIN = 16
_DEEP = PurePosixPath("top/" * 16)  # how far a path may lead out of the repository and still be below the folder


@contextmanager
def file_at(revision: Revision, path: PurePosixPath) -> Iterator[Path]:
    """The file at `path`, and of a model those beside it that its weights may lie in. What is told of it inside names
    the revision in place of the folder."""
    with _folder(revision) as root:
        revision.write(path, root / path)
        if path.suffix == ".onnx":
            _bring_weights(revision, path, root)
        yield root / path


@contextmanager
def recipe_at(revision: Revision, path: PurePosixPath) -> Iterator[tuple[Path, Loaded]]:
    """The recipe at `path`, and what it says, with a model that can be loaded."""
    with _folder(revision) as root:
        revision.write(path, root / path)
        lock = path.with_suffix(".lock")
        if revision.blob(lock) is not None:
            revision.write(lock, root / lock)
        _bring_bases(revision, root / path, root)
        loaded = load(root / path)
        yield root / path, replace(loaded, recipe=_with_model(revision, loaded.recipe, root))


@contextmanager
def _folder(revision: Revision) -> Iterator[Path]:
    with TemporaryDirectory(prefix="qdsl-diff-") as folder:
        root = Path(folder).resolve() / _DEEP
        root.mkdir(parents=True)
        try:
            yield root
        except QdslError as error:
            raise QdslError(_renamed(each, root, revision.word) for each in error.diagnostics) from None


def _renamed(found: Diagnostic, root: Path, word: str) -> Diagnostic:
    """`rev:recipes/a.q` in place of the path in the folder."""

    def told(text: str) -> str:
        return text.replace(f"{root}/", f"{word}:")

    span = None if found.span is None else replace(found.span, file=told(found.span.file))
    help, notes = tuple(map(told, found.help)), tuple(map(told, found.notes))
    return replace(found, headline=told(found.headline), label=told(found.label), span=span, help=help, notes=notes)


def _bring_bases(revision: Revision, file: Path, root: Path) -> None:
    """The files that `extends` leads to. One that the revision does not have, the loader tells."""
    for _ in range(_LONGEST_CHAIN):
        tree = parse(file.read_text(encoding="utf-8", errors="replace"), str(file)).tree
        base = next((s.path.value for s in tree.statements if isinstance(s, syntax.Extends)), None)
        if base is None:
            return
        file = Path(os.path.normpath(file.parent / base))
        path = _inside(file, root)
        if path is None or file.exists() or revision.blob(path) is None:
            return
        revision.write(path, file)


def _with_model(revision: Revision, recipe: Recipe, root: Path) -> Recipe:
    """The recipe with the model of the revision, or where it has none, with that of the working tree."""
    if recipe.model is None:
        return recipe
    location = Path(os.path.normpath(recipe.model.location))
    path = _inside(location, root)
    if path is not None and revision.blob(path) is not None:
        revision.write(path, location)
        _bring_weights(revision, path, root)
        return recipe
    own = Path(os.path.normpath(revision.root / os.path.relpath(location, root)))
    return replace(recipe, model=replace(recipe.model, location=str(own if not location.exists() else location)))


def _bring_weights(revision: Revision, model: PurePosixPath, root: Path) -> None:
    for name in revision.names(model.parent):
        path = model.parent / name
        wanted = name.startswith(model.stem) and path != model and not (root / path).exists()
        if wanted and revision.blob(path) is not None:
            revision.write(path, root / path)


def _inside(file: Path, root: Path) -> PurePosixPath | None:
    """Where in the repository a file of the folder stands; None outside of it."""
    return PurePosixPath(file.relative_to(root).as_posix()) if file.is_relative_to(root) else None
