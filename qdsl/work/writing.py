"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Recipe
from qdsl.spec.aside import folder_aside, replace_file


def require_place(path: Path) -> None:
    """Raise QdslError (artifact-write) when a folder `path` cannot be made or written: before hours of work, not after.
    Makes nothing."""
    if not is_utf8(path):
        raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be written: its name is not UTF-8")])
    at = path
    while not os.path.lexists(at) and at != at.parent:
        at = at.parent
    if not at.is_dir():
        reason = f"`{at}` is a file" if at.is_file() else f"`{at}` is not a folder"
    elif not os.access(at, os.W_OK | os.X_OK):
        reason = f"`{at}` may not be written" if at != path else "Permission denied"
    else:
        return
    raise QdslError([Diagnostic("artifact-write", f"`{path}` cannot be written: {reason}")])


def make_place(path: Path) -> None:
    """Make the folder `path` where it is not there. Raises QdslError (artifact-write)."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


@contextmanager
def aside(directory: Path) -> Iterator[Path]:
    """A folder for work below `directory`, on the same disk, gone at the end; so is `directory` where it was made for
    that and nothing came of it. Raises QdslError (artifact-write)."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        with ExitStack() as stack:
            try:
                place = stack.enter_context(folder_aside(directory / "made"))
            except OSError as error:
                raise unwritable(directory, error) from None
            yield place
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


def is_utf8(path: Path) -> bool:
    """Whether the runtime and its file formats, which speak UTF-8 alone, can name `path`."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write aside and rename, so that whoever reads `path` sees the old text or the new one.

    Raises QdslError (artifact-write).
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> QdslError:
    """What to raise where `path` cannot be written."""
    reason = error.strerror or type(error).__name__
    return QdslError([Diagnostic("artifact-write", f"`{path}` cannot be written: {reason}")])


def recipe_text(recipe: Recipe) -> str:
    """The recipe as it was compiled, for people: its bases first, and what its parameters stand for."""
    values = [f"# {name} = {value}" for name, value in recipe.params]
    given = ["# parameters:", *values, ""] if values else []
    files = [f"# {Path(name).name}\n{text.rstrip()}\n" for name, text in reversed(recipe.sources.items())]
    return "\n".join([*given, *files])
