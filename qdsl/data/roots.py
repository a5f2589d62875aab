"""Where the files that a dataset lists may lie: below the folder that the recipe names, and where its `outside` allows.

Paths are compared as text, after `..` is taken out: it is the path so found that is opened.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qdsl.data.types import failure
from qdsl.data.words import path_problem, short
from qdsl.lang.recipe import DataSpec

_PICTURES = "images"
_FAR = 3  # folders up, past which a path is better written from the top


@dataclass(frozen=True, slots=True)
class Roots:
    """The folder that the recipe names, and the folders that its `outside` names; all absolute."""

    home: str
    allowed: tuple[str, ...]
    spec: DataSpec

    def place(self, base: str, text: str, listed_in: str) -> str:
        """The absolute path that `text`, listed in `listed_in`, means from `base`; QdslError data-escape, data-name."""
        path = self.found(base, text, listed_in)
        self.require(path, text, listed_in)
        return path

    def found(self, base: str, text: str, listed_in: str) -> str:
        """The same, wherever it lies."""
        problem = path_problem(text)
        if problem:
            headline = f"{listed_in} lists the path `{short(text)}`, which cannot be used: {problem}"
            raise failure("data-name", headline, self.spec.span)
        return os.path.normpath(os.path.join(base, text.replace("\\", "/")))

    def require(self, path: str, text: str, listed_in: str) -> None:
        """Raise data-escape unless `path`, listed as `text`, lies where it may."""
        headline = f"{listed_in} lists `{short(text, 120)}`, which is outside the dataset's folder"
        if _is_windows(text):
            cure = "it is a path of another system: list files by paths below the dataset's own folder"
            raise failure("data-escape", headline, self.spec.span, help=(cure,))
        self.require_inside(path, headline)

    def require_inside(self, path: str, headline: str) -> None:
        """Raise data-escape with `headline`, and with the line that allows it, unless `path` lies where it may."""
        if self.holds(path):
            return
        line = f'outside "{self._written(above_pictures(path))}"'
        cure = f"to allow it, write `{line}` in the block of `data {self.spec.name}`"
        label = "" if os.path.exists(path) else "and nothing is there"
        raise failure("data-escape", headline, self.spec.span, label=label, help=(cure,))

    def holds(self, path: str) -> bool:
        return any(inside(path, folder) for folder in (self.home, *self.allowed))

    def _written(self, folder: str) -> str:
        """A folder as the recipe would write it: from its own place, unless that is far away."""
        named = self.spec.written[0] if self.spec.written else ""
        way = os.path.relpath(folder, self.home)
        if not named or named.startswith("/") or way.count("..") > _FAR:
            return folder
        here = os.path.dirname(named) if os.path.isfile(self.spec.paths[0]) else named
        return os.path.normpath(os.path.join(here, way)).replace(os.sep, "/")


def roots(spec: DataSpec, home: Path) -> Roots:
    """Where the files of `spec` may lie, `home` being the folder that the recipe names."""
    return Roots(os.path.abspath(home), tuple(os.path.abspath(path) for path in spec.outside_paths), spec)


def inside(path: str, folder: str) -> bool:
    """Whether an absolute path lies in a folder, or is it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def name_from(path: str, root: str) -> str:
    """What a sample is called: its path from the dataset's root, the same on every machine where the root moves."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def above_pictures(path: str) -> str:
    """The folder to allow for `path`: where pictures lie below `images`, their labels lie beside that."""
    parts = PurePosixPath(path).parts
    folder = parts if os.path.isdir(path) or not os.path.splitext(path)[1] else parts[:-1]
    at = max((i for i, part in enumerate(folder) if part == _PICTURES), default=len(folder))
    return str(PurePosixPath(*folder[:at]))


def _is_windows(text: str) -> bool:
    return len(text) > 1 and text[0].isalpha() and text[1] == ":" and os.sep == "/"
