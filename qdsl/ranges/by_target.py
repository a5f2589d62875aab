"""The ranges of several targets, measured together: each has those that it would have alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from qdsl.calibrate import Ranges


@dataclass(frozen=True, slots=True)
class TargetRanges:
    """The ranges of each target, of the tensors that it asks for. A tensor has another in one than in the other where
    their schemes, their methods or their data differ, or what its readers cut off. `samples` and `settled_after` are
    of all datasets together."""

    by_target: Mapping[str, Ranges]
    samples: int
    settled_after: int

    def of(self, target: str) -> Ranges:
        return self.by_target[target]

    @property
    def count(self) -> int:
        """How many tensors have a range."""
        return len({name for found in self.by_target.values() for name in found.low})

    def mapped(self, change: Callable[[str, Ranges], Ranges]) -> TargetRanges:
        """The same with what `change` makes of each target's name and ranges."""
        return replace(self, by_target={target: change(target, found) for target, found in self.by_target.items()})

    def together(self) -> Ranges:
        """All tensors, each with the widest range that a target has for it, and with the means of all."""
        if len(self.by_target) == 1:
            (alone,) = self.by_target.values()
            return alone
        every = self.by_target.values()
        names = sorted({name for found in every for name in found.low})
        methods = {name: dict.fromkeys(f.how(name) for f in every if name in f.methods) for name in names}
        return Ranges(
            {name: min(found.low[name] for found in every if name in found.low) for name in names},
            {name: max(found.high[name] for found in every if name in found.high) for name in names},
            self.samples,
            self.settled_after,
            {name: "; ".join(told) for name, told in methods.items() if told},
            means=dict(sorted((name, means) for found in every for name, means in found.means.items())),
        )

    def to_json(self) -> str:
        """Sorted JSON, one tensor a line, as `Ranges` writes it; where targets have different ranges for a tensor, one
        for each target, by its name."""
        whole = self.together()
        return whole.to_json({name: self._row(name) for name in whole.low})

    def _row(self, name: str) -> str:
        rows = {target: found.row(name) for target, found in self.by_target.items() if name in found.low}
        if len(set(rows.values())) == 1:
            return next(iter(rows.values()))
        return f"{{{', '.join(f'{json.dumps(target)}: {row}' for target, row in rows.items())}}}"
