"""The target that an audit is for: its table, and what its software runs of a file."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.auditing.running import what_runs
from qdsl.capability import Capability, load
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished
from qdsl.lang.recipe import Target as Block
from qdsl.spec.plan import Prediction
from qdsl.targets import target_of


@dataclass(frozen=True, slots=True)
class Audience:
    """A target to audit for, and the name of its capability table."""

    target: str
    table: str
    capability: Capability

    def runs(self, finished: Finished, collapsed: Collapsed) -> dict[str, Prediction]:
        """What the target's software runs, by node. `collapsed.edges` is changed."""
        return what_runs(finished, collapsed, target_of(self.target).runtime, self.capability)


def audience(target: str, block: Block | None = None) -> Audience:
    """`block` is what a recipe says of the target. Raises QdslError (target-absent)."""
    backend = target_of(target)
    return Audience(target, backend.table, backend.fitted(load(backend.table), block))
