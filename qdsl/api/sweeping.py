"""`sweep`: every recipe with every value of its parameters, each compiled in a process of its own.

A cell of the sweep is one recipe with one choice of values. What is done is kept: a cell is done again only when its
recipe, model, data or tools changed. A cell that fails is shown, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qdsl import data
from qdsl import lock as locks
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lang import Loaded
from qdsl.spec.decode import decode, json_data
from qdsl.version import __version__
from qdsl.work.engines import Engine, Finished, Job, engine
from qdsl.work.prepared import model_prints, prepare, read, takes
from qdsl.work.writing import require_place, write_text

DEFAULT_OUT = "build/sweep"
_BROKEN = 4  # the exit code of a compilation whose artifacts are there and whose budgets do not hold
_LARGEST = 512


@dataclass(frozen=True, slots=True)
class Cell:
    """One recipe with a value for each of its parameters. `name` is that of its folder."""

    recipe: Path
    sets: tuple[tuple[str, str], ...]
    name: str


@dataclass(frozen=True, slots=True)
class _Done:
    """`cell.json`: what was compiled, and how it ended. `key` tells when it has to be done again."""

    key: str
    holds: bool
    sets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CellResult:
    """`status` is done, kept (it was done before and nothing changed) or failed; `holds` is False for a broken budget;
    `reason` is what a failed one said first. `directory` holds the build, `log.txt` what was told meanwhile."""

    cell: Cell
    status: str
    holds: bool
    directory: Path
    reason: str = ""

    @property
    def measurements(self) -> dict[str, Any] | None:
        """What the cell measured; None where it failed."""
        path = self.directory / self.cell.recipe.stem / "measurements.json"
        if self.status == "failed" or not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Every cell, in the order of recipes and values."""

    directory: Path
    cells: tuple[CellResult, ...]

    @property
    def failed(self) -> tuple[CellResult, ...]:
        return tuple(cell for cell in self.cells if cell.status == "failed")

    @property
    def holds(self) -> bool:
        return all(cell.holds for cell in self.cells)


Listener = Callable[[CellResult, int, int], None]


def sweep(
    recipes: Sequence[str | Path],
    *,
    out: str | Path = DEFAULT_OUT,
    sets: Mapping[str, str] | None = None,
    jobs: int = 1,
    how: str = "local",
    listener: Listener | None = None,
    allow_python: bool = False,
) -> SweepResult:
    """Compile every recipe with every combination of its parameters' values, to `<out>/<cell>/<recipe>/`.

    `sets` fixes parameters; `jobs` cells run at a time (their latencies then disturb one another); `how` is local or
    ray, `allow_python` that of `compile`. `listener` hears of each cell as it ends, with how many have of all. Raises
    QdslError for recipes that cannot be read, before any cell runs, and sweep-engine; ValueError for less than one job.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` is {jobs}: expected a whole number from 1")
    cells = _cells(recipes, sets or {})
    directory = Path(out)
    require_place(directory)
    keys = {cell.name: _key(cell) for cell in cells}
    found = {cell.name: kept for cell in cells if (kept := _kept(directory, cell, keys[cell.name])) is not None}
    heard = listener or (lambda result, done, total: None)
    for done, result in enumerate(found.values(), 1):
        heard(result, done, len(cells))
    waiting = {cell.name: cell for cell in cells if cell.name not in found}
    for finished in _run(engine(how, jobs), directory, waiting, ("--allow-python",) if allow_python else ()):
        cell = waiting[finished.name]
        found[cell.name] = _ended(directory, cell, keys[cell.name], finished)
        heard(found[cell.name], len(found), len(cells))
    return SweepResult(directory, tuple(found[cell.name] for cell in cells))


def _cells(recipes: Sequence[str | Path], sets: Mapping[str, str]) -> tuple[Cell, ...]:
    """Recipes in the order given, values in the order written. Raises QdslError with what is wrong in any of them."""
    diags = Diagnostics()
    found: list[Cell] = []
    for path in dict.fromkeys(Path(recipe) for recipe in recipes):
        try:
            own = {name: value for name, value in sets.items() if name in _parameters(path)}
            found += [Cell(path, values, _name(path, values)) for values in _values(read(path, own), own)]
        except QdslError as error:
            diags.extend(error.diagnostics)
    diags.raise_errors()
    names = [cell.name for cell in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        headline = f"two recipes of the sweep are called {twice[0]}"
        raise QdslError([Diagnostic("sweep-names", headline, help=("their builds would overwrite one another",))])
    if len(found) > _LARGEST:
        headline = f"the sweep has {len(found)} cells, more than {_LARGEST}"
        raise QdslError([Diagnostic("sweep-size", headline, help=("fix parameters with `--set`",))])
    return tuple(found)


def _parameters(path: Path) -> frozenset[str]:
    return frozenset(name for name, _ in read(path, None).recipe.params)


def _values(loaded: Loaded, sets: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every combination of the values that parameters may have; those of `sets` are fixed."""
    names = [name for name, _ in loaded.recipe.params]
    choices = dict(loaded.recipe.choices)
    rows = [(sets[name],) if name in sets else choices.get(name, ()) for name in names]
    written = [(name, row) for name, row in zip(names, rows, strict=True) if row]
    for values in itertools.product(*(row for _, row in written)):
        yield tuple((name, value) for (name, _), value in zip(written, values, strict=True))


def _name(path: Path, values: Sequence[tuple[str, str]]) -> str:
    """`yolov8n_static`, `bits_int4`: words of letters, digits and few signs, so that it is a folder anywhere."""
    told = "+".join([path.stem, *(f"{name}={value}" for name, value in values)])
    plain = re.sub(r"[^A-Za-z0-9_.=+-]", "_", told)
    if plain == told and len(plain) <= 100:
        return plain
    return f"{plain[:80]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _key(cell: Cell) -> str:
    """What a cell depends on, as a hash; "" where it cannot be known, since something is missing."""
    try:
        loaded = read(cell.recipe, dict(cell.sets))
        prepared = prepare(loaded)
        prints, recipe = locks.Fingerprints(), loaded.recipe
        model = model_prints(prepared, prints)
        wanted = takes(prepared)
        files = [
            (spec.name, [(file.name, file.sha256) for file in prints.dataset(opened)])
            for spec in recipe.data
            for opened in (data.open(spec, recipe.inputs, wanted, Diagnostics()),)
        ]
    except QdslError:
        return ""
    tools = dict(locks.tool_versions())
    stands = [__version__, tools, sorted(recipe.sources.values()), cell.sets, model, files]
    return hashlib.sha256(json.dumps(stands, sort_keys=True, default=list).encode()).hexdigest()


def _kept(directory: Path, cell: Cell, key: str) -> CellResult | None:
    """The cell as it was done before; None where it was not, or something changed since."""
    folder = directory / cell.name
    try:
        found = decode(_Done, json_data((folder / "cell.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    same = bool(key) and found.key == key
    there = (folder / cell.recipe.stem / "measurements.json").is_file()
    return CellResult(cell, "kept", found.holds, folder) if same and there else None


def _run(by: Engine, directory: Path, waiting: Mapping[str, Cell], more: Sequence[str]) -> Iterator[Finished]:
    jobs = []
    for cell in waiting.values():
        folder = directory / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cell.json").unlink(missing_ok=True)
        words = [sys.executable, "-m", "qdsl", "compile", os.fspath(cell.recipe.resolve()), "--no-lock", "--json"]
        words += ["--out", os.fspath(folder.resolve()), *more]
        for name, value in cell.sets:
            words += ["--set", f"{name}={value}"]
        jobs.append(Job(cell.name, tuple(words), os.fspath((folder / "log.txt").resolve()), os.fspath(Path.cwd())))
    return by(jobs)


def _ended(directory: Path, cell: Cell, key: str, finished: Finished) -> CellResult:
    """What became of a cell; written down last, so that only a whole one counts as done."""
    folder = directory / cell.name
    if finished.code not in (0, _BROKEN):
        return CellResult(cell, "failed", False, folder, finished.reason)
    holds = finished.code == 0
    done = asdict(_Done(key, holds, dict(cell.sets)))
    write_text(folder / "cell.json", json.dumps(done, indent=1) + "\n")
    return CellResult(cell, "done", holds, folder)
