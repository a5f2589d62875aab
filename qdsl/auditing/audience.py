"""The targets that an audit can be for: those with a table, of which it says what runs, and those that the language
knows and this version has no table of, for which the rules that speak of them are asked all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qdsl.auditing.running import what_runs
from qdsl.capability import Capability, load
from qdsl.diag import Diagnostic, QdslError
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished
from qdsl.lang.recipe import Target as Block
from qdsl.lang.vocabulary import TARGETS as SPOKEN_OF
from qdsl.spec.plan import Prediction
from qdsl.targets import TARGETS, target_of

_TITLES = {"tensorrt": "TensorRT", "stm32": "the STM32 runtime"}
_STANDS_IN = "ort"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Audience:
    """A target to audit for. `table` is the name of its capability table, "" where there is none: `capability` is then
    that of ONNX Runtime under the target's title, which rules about the target do not ask."""

    target: str
    table: str
    capability: Capability

    def runs(self, finished: Finished, collapsed: Collapsed) -> dict[str, Prediction]:
        """What the software of the table's target runs, by node. `collapsed.edges` is changed."""
        backend = target_of(self.target if self.table else _STANDS_IN)
        return what_runs(finished, collapsed, backend.runtime, self.capability)

    def told(self, runs: Mapping[str, Prediction]) -> Mapping[str, Prediction]:
        """What is said of that: nothing, where there is no table."""
        if self.table:
            return runs
        because = f"this version has no table of {self.capability.title}"
        return dict.fromkeys(runs, Prediction(UNKNOWN, "", "", because))


def audience(target: str, block: Block | None = None) -> Audience:
    """`block` is what a recipe says of the target. Raises QdslError (target-absent) for a name that the language does
    not know either."""
    if target in TARGETS:
        backend = target_of(target)
        return Audience(target, backend.table, backend.fitted(load(backend.table), block))
    if target in SPOKEN_OF:
        known = load(target_of(_STANDS_IN).table)
        return Audience(target, "", replace(known, title=_TITLES.get(target, target)))
    headline = f"there is no target `{target[:80]}`"
    cure = f"the targets are {', '.join(f'`{word}`' for word in dict.fromkeys((*TARGETS, *SPOKEN_OF)))}"
    raise QdslError([Diagnostic("target-absent", headline, help=(cure,))])
