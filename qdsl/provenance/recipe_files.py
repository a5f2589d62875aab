"""The files of a recipe under names that hold on every machine: as its `extends` statements write them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator

from qdsl.lang import syntax
from qdsl.lang.parse import parse
from qdsl.lang.recipe import Recipe
from qdsl.provenance.records import RecipeFile, name_problem

_LONGEST = 150


def recipe_files(recipe: Recipe, *, text: bool = True) -> tuple[RecipeFile, ...]:
    """The recipe, called after its `recipe` statement, then what it extends, base-most last. A base is called as it is
    written, seen from the recipe's folder; one that is named absolutely by its last part alone. `text`: with what they
    say, else only with its hash."""
    names = _distinct(_written_names(recipe))
    return tuple(
        RecipeFile(name, text_sha256(content), content if text else None)
        for name, content in zip(names, recipe.sources.values(), strict=True)
    )


def text_sha256(text: str) -> str:
    """The hash of a recipe's text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _written_names(recipe: Recipe) -> Iterator[str]:
    name = f"{recipe.name}.q"
    texts = list(recipe.sources.values())
    yield name
    for text in texts[:-1]:
        written = _base(text).replace("\\", "/")
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), written))
        name = posixpath.basename(joined) if joined.startswith("/") else joined
        yield name


def _base(text: str) -> str:
    """What the `extends` statement of a file names."""
    tree = parse(text, "").tree
    return next((each.path.value for each in tree.statements if isinstance(each, syntax.Extends)), "base.q")


def _distinct(names: Iterator[str]) -> Iterator[str]:
    """Names that any file system takes and tells apart."""
    seen: set[str] = set()
    for number, name in enumerate(names):
        made = "".join(c if c.isprintable() and c not in "\\:" else "_" for c in name)
        if name_problem(made) or made.casefold() in seen:
            made = f"{number}-{posixpath.basename(made)[-_LONGEST:]}"
        seen.add(made.casefold())
        yield made
