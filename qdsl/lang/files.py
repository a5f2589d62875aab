"""Reading recipes from disk, bounded and with a diagnostic for whatever goes wrong; and whether named files exist."""

from __future__ import annotations

from pathlib import Path, PurePath

from qdsl.diag import Diagnostic, Diagnostics, Span, nearest
from qdsl.lang.recipe import Recipe

LARGEST = 1 << 20
_MOST_NAMES = 2000
_GLOB = "*?["


def read(path: Path, span: Span | None, diags: Diagnostics, *, exact: bool = False) -> str | None:
    """The text of a recipe; None, with an error at `span`, when it cannot be had. A byte order mark stays only when
    the text is wanted `exact`."""
    name = str(path)
    try:
        if not path.exists():
            diags.add(_missing(name, span, "recipe"))
            return None
        if not path.is_file():
            what = "a directory" if path.is_dir() else "not a regular file"
            diags.error("file-unreadable", f"`{name}` is {what}", span, label="expected a recipe file")
            return None
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        diags.error("file-unreadable", f"`{name[:200]}` cannot be read", span, label=reason)
        return None
    text = decode(content, name, span, diags)
    return text if exact or text is None else text.removeprefix("\ufeff")


def decode(content: bytes, name: str, span: Span | None, diags: Diagnostics) -> str | None:
    """UTF-8 of at most 1 MiB."""
    if len(content) > LARGEST:
        diags.error("file-too-large", f"`{name}` is too large for a recipe", span, label="more than 1 MiB")
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        before = content[: fault.start]
        line = before.count(b"\n") + 1
        column = len(before.rsplit(b"\n", 1)[-1].decode("utf-8")) + 1
        at = Span(name, line, column, line, column + 1)
        label = f"byte 0x{content[fault.start]:02x} is not UTF-8"
        diags.error("file-encoding", f"`{name}` is not UTF-8 text", at, label=label, help=("save it as UTF-8",))
        return None


def missing_files(recipe: Recipe) -> tuple[Diagnostic, ...]:
    """An error for each model, dataset, calibration cache and rule file that the recipe names and that is not there."""
    diags = Diagnostics()
    if recipe.model is not None and recipe.model.format != "torch":
        _check(recipe.model.location, recipe.model.span, "model", diags)
    for data in recipe.data:
        for path in data.paths:
            _check(path, data.span, "data", diags)
    for said in recipe.caches():
        _check(said.cache_path or "", said.span, "calibration cache", diags)
    for use in (*recipe.uses, *(use for target in recipe.targets for use in target.uses)):
        _check(use.path, use.span, "rule file", diags)
    return diags.sorted()


def _check(path: str, span: Span, what: str, diags: Diagnostics) -> None:
    place = _fixed(path)
    try:
        there = Path(place).exists()
    except (OSError, ValueError):
        there = False
    if not there:
        diags.add(_missing(place, span, what))


def _fixed(path: str) -> str:
    """The part of a path before the first part with a wildcard."""
    kept: list[str] = []
    for part in PurePath(path).parts:
        if any(c in part for c in _GLOB):
            break
        kept.append(part)
    return str(PurePath(*kept)) if kept else "."


def _missing(path: str, span: Span | None, what: str) -> Diagnostic:
    """Where the path goes wrong: its first directory that is not there, or the nearest names beside the file."""
    shown = path if len(path) <= 200 else path[:197] + "..."
    parent = PurePath(path)
    while parent.parent != parent and not _is_directory(parent.parent):
        parent = parent.parent
    lost = parent if str(parent) != path else None
    label = f"no directory `{lost}`" if lost is not None else "no such file"
    near = nearest(parent.name, _names(parent.parent))
    cures = (f"the nearest there: {', '.join(f'`{parent.parent / name}`' for name in near)}",) if near else ()
    if what == "model":
        return Diagnostic("model-missing", f"there is no model file `{shown}`", span, label, cures)
    return Diagnostic("file-missing", f"the {what} `{shown}` does not exist", span, label, cures)


def _is_directory(path: PurePath) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _names(directory: PurePath) -> list[str]:
    """Names in a directory, sorted; a bounded number of them."""
    names: list[str] = []
    try:
        for entry in Path(directory).iterdir():
            names.append(entry.name)
            if len(names) >= _MOST_NAMES:
                break
    except (OSError, ValueError):
        return []
    return sorted(names)
