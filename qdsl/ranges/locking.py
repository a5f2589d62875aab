"""How `compile` uses the lock: take its ranges where nothing changed, refuse where something did, write it at the end.

Without a word from the caller a fresh lock stands for the calibration, a stale one is refused, and where there is none
one is written. `update` measures anew; `locked` insists on the lock and needs no data, but checks what is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl import lock as locks
from qdsl.data import Dataset
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity
from qdsl.graph import Model
from qdsl.lang.recipe import Recipe
from qdsl.lock import Change, Chosen, DataFile, Fingerprints, Lock
from qdsl.ranges import rounding, weights_file
from qdsl.ranges.by_target import TargetRanges
from qdsl.ranges.correcting import channels, wanted_of
from qdsl.ranges.locked import needed, recalled, whole
from qdsl.ranges.rounding import Weights
from qdsl.ranges.staleness import SUFFIX, stale
from qdsl.spec.aside import forget_dead
from qdsl.spec.plan import Plan
from qdsl.spec.words import count
from qdsl.targets import target_of
from qdsl.work.prepared import Prepared, model_prints
from qdsl.work.writing import write_text


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of the lock. Raises ValueError for two wishes that contradict."""

    lock: bool = True
    locked: bool = False
    update: bool = False

    def __post_init__(self) -> None:
        if self.locked + self.update + (not self.lock) > 1:
            raise ValueError("`locked`, `update` and `lock=False` exclude one another")


class Pinned:
    """The lock of one compilation: read first, compared once the plans and the data are known, written last."""

    def __init__(self, recipe: Recipe, wish: Wish, target: str | None = None) -> None:
        """`target` is the only one compiled now. Raises QdslError: lock-invalid, lock-missing, lock-unwritable."""
        self.recipe = recipe
        self.wish = wish
        self.path = Path(recipe.path).with_suffix(SUFFIX)
        self.weights = Path(recipe.path).with_suffix(weights_file.SUFFIX)
        self.whole = target is None or len(recipe.targets) == 1
        self.prints = Fingerprints()
        self.found: Lock | None = None
        self.now: Lock | None = None
        if wish.lock and not wish.update:
            self.found = locks.read(self.path)
        if wish.locked and self.found is None:
            raise self._error("lock-missing", f"there is no lock `{self.path.name}`")
        if self.writes and (self.path.is_dir() or not os.access(self.path.parent, os.W_OK)):
            raise self._error("lock-unwritable", f"`{self.path.name}` cannot be written beside the recipe")

    @property
    def writes(self) -> bool:
        """Whether this compilation ends with a new lock: one for some of the targets would not hold for all."""
        return self.wish.lock and self.found is None and self.whole

    @property
    def used(self) -> Path | None:
        """The lock that gave the ranges or was written; None where none was."""
        return self.path if self.writes or self.found is not None else None

    def open(self, names: Sequence[str], opened: Callable[[str], Dataset], diags: Diagnostics) -> dict[str, Dataset]:
        """The datasets by name; with `locked`, those that are still there, and a note for each that is not."""
        found = {}
        errors = Diagnostics()
        for name in names:
            try:
                found[name] = opened(name)
            except QdslError as error:
                if self.wish.locked:
                    diags.add(_unchecked(name, self.recipe, error))
                else:
                    errors.extend(self._with_hint(d) for d in error.diagnostics)
        errors.raise_errors()
        return found

    def _with_hint(self, found: Diagnostic) -> Diagnostic:
        if self.found is None:
            return found
        return replace(found, notes=(*found.notes, f"`--locked` takes the ranges of `{self.path.name}` without data"))

    def ranges(
        self, prepared: Prepared, plans: Sequence[Plan], datasets: Mapping[str, Dataset], diags: Diagnostics
    ) -> TargetRanges | None:
        """The ranges of the lock, or None when they have to be measured. Raises QdslError `lock-stale`."""
        self.now = self._facts(prepared, plans, datasets) if self.wish.lock else None
        if self.found is None or self.now is None:
            return None
        changes = self._changes(prepared, plans, self.now)
        if changes:
            raise QdslError([stale(self.path, changes, self.recipe.span)])
        told = tuple(locks.elsewhere(self.found, self.now.capability, self.now.tools, self.now.cpu))
        if told:
            headline = f"the ranges of `{self.path.name}` were measured with other tools or on another kind of machine"
            diags.add(Diagnostic("lock-elsewhere", headline, notes=told, severity=Severity.NOTE))
        return recalled(self.found, plans)

    @property
    def chosen(self) -> Chosen:
        """What the lock says of choices by measurement."""
        return Chosen() if self.found is None else locks.chosen(self.found)

    def require_unmoved(self) -> None:
        """Raises QdslError `lock-moved` when a file is no longer what was hashed before it was measured."""
        self.prints.require_unmoved()

    def readable(self, datasets: Mapping[str, Dataset]) -> dict[str, Dataset]:
        """The datasets whose files are all there: without data, the artifact is compared on none."""
        return {name: dataset for name, dataset in datasets.items() if locks.complete(dataset)}

    def rounded(self, plans: Sequence[Plan], models: Sequence[Model]) -> Weights:
        """The integers that the lock names, for these plans of these float models. Raises QdslError `lock-stale`,
        `lock-weights`."""
        span = self.recipe.improve.span if self.recipe.improve is not None else self.recipe.span
        found = rounding.recalled(plans, models, self.chosen.rounded, self.weights, self.path, span)
        if not self.wish.locked:
            weights_file.forget(self.weights, [one.sha256 for one in self.chosen.rounded])
        return found

    def write(self, ranges: TargetRanges, plans: Sequence[Plan], chosen: Chosen, weights: Weights | None = None) -> str:
        """Write the lock, if this compilation makes one, and say what was done, "" for nothing to do. `plans` are those
        before any choice: they need every range. Raises QdslError `lock-unwritable`."""
        if self.now is None or self.found is not None:
            return ""
        if not self.whole:
            return f"{self.path.name} is not written: it covers every target of the recipe, and this was not all"
        made = whole(self.now, ranges, plans, chosen)
        try:
            forget_dead(self.path.parent, self.path.name)
            with weights_file.replacing(self.weights, [] if weights is None else weights.arrays):
                write_text(self.path, locks.render(made))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._error("lock-unwritable", f"`{self.path.name}` cannot be written: {reason}") from None
        more = f", {count(len(made.rounded), 'weight')} in {self.weights.name}" if made.rounded else ""
        return f"{self.path}   {count(len(made.ranges), 'range')}{more}"

    def told(
        self,
        prepared: Prepared,
        plans: Sequence[Plan],
        datasets: Mapping[str, Dataset],
        ranges: TargetRanges,
        chosen: Chosen,
    ) -> Lock:
        """What the lock says of this build, or would say if it had one: the same whether there is one or not. `ranges`
        and `plans` are as for `write`. Without a lock, this reads every file of the data once. Raises QdslError
        data-missing, data-unreadable."""
        if self.found is not None:
            return self.found
        return whole(self.now or self._facts(prepared, plans, datasets), ranges, plans, chosen)

    def _facts(self, prepared: Prepared, plans: Sequence[Plan], datasets: Mapping[str, Dataset]) -> Lock:
        """The world as it is now, as a lock without ranges."""
        return Lock(
            recipe=tuple((part.key, part.sha256) for part in locks.meaning(self.recipe)),
            model=model_prints(prepared, self.prints),
            capability=locks.table_hashes({target_of(plan.target).table for plan in plans}),
            tools=locks.tool_versions(),
            cpu=locks.cpu_kind(),
            data=tuple(file for name, dataset in datasets.items() for file in self._files(name, dataset)),
            caches=tuple(sorted({(use.file, use.sha256) for plan in plans for use in plan.caches})),
        )

    def _files(self, name: str, dataset: Dataset) -> tuple[DataFile, ...]:
        if self.wish.locked and self.found is not None:
            return self.prints.present(dataset, {file.name for file in self.found.data if file.data == name})
        return self.prints.dataset(dataset)

    def _changes(self, prepared: Prepared, plans: Sequence[Plan], now: Lock) -> list[Change]:
        assert self.found is not None
        spans = {spec.name: spec.span for spec in self.recipe.data}
        changes = locks.recipe_changes(self.found, locks.meaning(self.recipe))
        changes += locks.model_changes(self.found, now.model, prepared.model.span)
        changes += locks.cache_changes(self.found, now.caches, next((one.span for one in self.recipe.caches()), None))
        changes += locks.data_changes(self.found, now.data, spans, partly=self.wish.locked)
        # What is measured follows from the recipe and the model; alone, it changed with the target's table or with us.
        sizes = channels(prepared.view, plans)
        means = locks.mean_changes(self.found, wanted_of(plans), sizes)
        return changes or [*locks.range_changes(self.found, needed(plans, self.found)), *means]

    def _error(self, code: str, headline: str) -> QdslError:
        return QdslError([Diagnostic(code, headline, self.recipe.span)])


def _unchecked(name: str, recipe: Recipe, error: QdslError) -> Diagnostic:
    headline = f"data {name} is not here: the lock's ranges stand for it unchecked"
    reason = (error.diagnostics[0].headline,)
    return Diagnostic("lock-unchecked", headline, recipe.dataset(name).span, notes=reason, severity=Severity.NOTE)
