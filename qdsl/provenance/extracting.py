"""The recipe out of a file, byte for byte: to a file, or with all that it extends into a folder.

Names of bases come from the file, which anybody may have written. `qdsl.provenance.records` has seen to it that they
are relative and that `..` stands at their beginning alone; so many folders deep the recipe itself is put, and nothing
leaves the folder that was named.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from qdsl.diag import Diagnostic, QdslError
from qdsl.provenance.records import Provenance, levels_up
from qdsl.spec.aside import folder_aside, replace_file, replace_folder

_DEEPER = "recipe"


def recipe_text(known: Provenance) -> str:
    """The recipe itself, without what it extends. Raises QdslError provenance-hashes where the file has no text."""
    return _texts(known)[0]


def extract(known: Provenance, to: Path) -> tuple[Path, ...]:
    """Write the recipe to the file `to`; or, where `to` is a folder, the recipe and all that it extends below it, as
    they stand to one another. Nothing is overwritten: the file is not there yet, the folder is empty. Returns the
    files, the recipe first. Raises QdslError provenance-hashes, show-exists, artifact-write."""
    texts = _texts(known)
    try:
        if to.is_dir():
            return _into(known, texts, to)
        if to.exists() or to.is_symlink():
            raise _exists(f"`{to}` is there already, and is not overwritten")
        to.parent.mkdir(parents=True, exist_ok=True)
        replace_file(to, texts[0].encode("utf-8"))
        return (to,)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise QdslError([Diagnostic("artifact-write", f"`{to}` cannot be written: {reason}")]) from None


def _into(known: Provenance, texts: list[str], folder: Path) -> tuple[Path, ...]:
    if any(folder.iterdir()):
        raise _exists(f"`{folder}` is not empty, and nothing in it is overwritten")
    home = "/".join([_DEEPER] * max(levels_up(file.name) for file in known.files))
    places = [_below(home, file.name) for file in known.files]
    target = folder.resolve()
    with folder_aside(target) as made:
        for place, text in zip(places, texts, strict=True):
            path = made / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(text.encode("utf-8"))
        replace_folder(target, made)
    return tuple(folder / place for place in places)


def _below(home: str, name: str) -> PurePosixPath:
    """Where a file of the recipe comes to stand, seen from the folder: `..` before it are taken back."""
    up = levels_up(name)
    kept = PurePosixPath(home).parts
    return PurePosixPath(*kept[: len(kept) - up], *PurePosixPath(name).parts[up:])


def _texts(known: Provenance) -> list[str]:
    texts = [file.text for file in known.files if file.text is not None]
    if len(texts) < len(known.files):
        headline = f"the file carries hashes of recipe {known.recipe[:100]}, not its text"
        raise QdslError([Diagnostic("provenance-hashes", headline)])
    return texts


def _exists(headline: str) -> QdslError:
    return QdslError([Diagnostic("show-exists", headline)])
