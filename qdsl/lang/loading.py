"""From a file or text to a `Recipe`: read, parse, follow `extends`, merge, resolve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import Diagnostic, Diagnostics, QdslError, Span
from qdsl.lang import syntax
from qdsl.lang.files import LARGEST, read
from qdsl.lang.parse import parse
from qdsl.lang.recipe import Recipe
from qdsl.lang.resolve import resolve
from qdsl.lang.scope import Scope

_LONGEST_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe and its warnings."""

    recipe: Recipe
    diagnostics: tuple[Diagnostic, ...]


def load(path: str | Path, *, sets: Mapping[str, str] | None = None) -> Loaded:
    """Read a recipe with its bases. `sets` are parameter values by name, as texts of the language (`--set bits=int4`).

    Raises QdslError with every error of all files at once.
    """
    diags = Diagnostics()
    name = str(path)
    text = read(Path(path), None, diags)
    if text is None:
        raise QdslError(diags.sorted())
    return _loaded(text, name, str(Path(path).parent), sets or {}, diags)


def loads(
    text: str, *, name: str = "<text>", directory: str | Path = ".", sets: Mapping[str, str] | None = None
) -> Loaded:
    """The same for a text. `name` stands in spans, `directory` is where its paths start from."""
    diags = Diagnostics()
    text = text.removeprefix("\ufeff")
    if len(text) > LARGEST:
        diags.error("file-too-large", f"`{name}` is too large for a recipe", None, label="more than 1 MiB")
        diags.raise_errors()
    return _loaded(text, name, str(directory), sets or {}, diags)


def _loaded(text: str, name: str, directory: str, sets: Mapping[str, str], diags: Diagnostics) -> Loaded:
    scope = Scope(name, diags, {name: directory})
    chain = _Chain(scope)
    files = chain.files(text, name, directory)
    recipe = resolve(files, scope, sets, chain.sources)
    diags.raise_errors()
    return Loaded(recipe, diags.sorted())


class _Chain:
    """Follows `extends` from a recipe to its base-most file."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.sources: dict[str, str] = {}
        self.paths: list[Path] = []

    def files(self, text: str, name: str, directory: str) -> list[syntax.File]:
        """Every file of the chain, base-most first. What cannot be followed is reported and left out."""
        found: list[syntax.File] = []
        if name != "<text>":
            self.paths.append(_real(Path(name)))
        while True:
            self.sources[name] = text
            self.scope.directories[name] = directory
            parsed = parse(text, name)
            for diagnostic in parsed.diagnostics:
                self.scope.diags.add(diagnostic)
            found.insert(0, parsed.tree)
            following = self._following(parsed.tree, directory)
            if following is None:
                return found
            text, name, directory = following

    def _following(self, file: syntax.File, directory: str) -> tuple[str, str, str] | None:
        stands = next((s for s in file.statements if isinstance(s, syntax.Extends)), None)
        if stands is None:
            return None
        written = stands.path
        path = Path(directory) / written.value
        real = _real(path)
        if real in self.paths:
            label = "this file is already in the chain"
            self.scope.error(
                "extends-cycle", "`extends` leads back to a file that extends this one", written.span, label
            )
            return None
        if len(self.paths) >= _LONGEST_CHAIN:
            self.scope.error("extends-depth", f"more than {_LONGEST_CHAIN} files extend each other", written.span)
            return None
        self.paths.append(real)
        text = read(path, written.span, self.scope.diags)
        return None if text is None else (text, str(path), str(path.parent))


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def require_complete(recipe: Recipe) -> None:
    """Raise QdslError when something is missing that compiling needs: a base may leave out what its users write."""
    diags = Diagnostics()
    what: list[tuple[bool, str, str]] = [
        (recipe.model is not None, "model", 'model onnx "model.onnx"'),
        (recipe.mode is not None or any(t.mode for t in recipe.targets), "quantize", "quantize static { ... }"),
        (bool(recipe.targets), "target", "target ort"),
    ]
    for there, word, example in what:
        if not there:
            headline = f"`{recipe.name}` has no `{word}` statement"
            diags.error("incomplete", headline, recipe.span, help=(f"such as `{example}`",))
    for data in recipe.data:
        if not data.source:
            _sourceless(data.name, data.span, diags)
    diags.raise_errors()


def _sourceless(name: str, span: Span, diags: Diagnostics) -> None:
    cures = (f'such as `data {name} from images "*.jpg"`',)
    diags.error("incomplete", f"`data {name}` does not say where it comes from", span, help=cures)
