"""What an engine that was built here, of an artifact that was just made, computes beside what was planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import Many, OneOf, Text
from qdsl.spec.engine import BUILD, BUILT, DROPPED, ELIMINATED, KEPT, PARSE, UNDECIDED, UNKNOWN, VERDICTS, EngineRefusal

# Of a node that was planned in floats: that it is fused with what reads integers contradicts nothing.
_IN_FLOATS = (DROPPED, ELIMINATED, UNKNOWN)
_MOST = Many(most=1_000_000)
_Told = Annotated[str, Text(1 << 20)]  # layers are named by all that they fuse


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """One node of the artifact that multiplies. `expect` is what it was planned in, `verdict`, `layer`, `because` and
    `holds_elsewhere` what became of it (see `qdsl.spec.engine.EngineVerdict`), `waived` why it may part from the
    plan."""

    node: _Told
    op: _Told
    expect: _Told
    verdict: Annotated[str, OneOf(VERDICTS)]
    layer: _Told = ""
    because: _Told = ""
    holds_elsewhere: bool = True
    waived: _Told = ""

    @property
    def planned(self) -> bool:
        """Whether it was planned in integers."""
        return self.expect in KEPT

    @property
    def as_planned(self) -> bool:
        """Whether it computes in what it was planned in; of what was planned in floats, whether nothing contradicts."""
        return self.verdict in KEPT.get(self.expect, _IN_FLOATS)

    @property
    def contradicts(self) -> bool:
        """Whether it computes in something else, and not because all such nodes do in this engine alone."""
        return not self.as_planned and self.holds_elsewhere

    @property
    def passes(self) -> bool:
        """Whether nothing planned in integers was lost but what the recipe waives. UNKNOWN never passes."""
        return self.as_planned or (bool(self.waived) and self.verdict != UNKNOWN)

    @property
    def lost(self) -> bool:
        """Whether it is known not to compute in what it was planned in; what is so in this engine alone is not."""
        return not self.passes and self.holds_elsewhere and self.verdict not in (UNKNOWN, ELIMINATED)


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """An engine of the artifact for `target`: `source`, `stage`, `refused`, `notes` and `reason` are those of an
    `EngineSeen`; `nodes` are in graph order, none where there is no engine."""

    target: _Told
    source: _Told
    stage: Annotated[str, OneOf((PARSE, BUILD, BUILT, UNDECIDED))]
    nodes: Annotated[tuple[CheckedNode, ...], _MOST] = ()
    refused: Annotated[tuple[EngineRefusal, ...], _MOST] = ()
    notes: Annotated[tuple[_Told, ...], _MOST] = ()
    reason: _Told = ""

    @property
    def planned(self) -> tuple[CheckedNode, ...]:
        """The nodes that were planned in integers."""
        return tuple(each for each in self.nodes if each.planned)

    @property
    def as_predicted(self) -> bool:
        """Whether no node computes in something else than was foretold."""
        return self.stage == BUILT and not any(each.contradicts for each in self.nodes)

    @property
    def passes(self) -> bool:
        """Whether everything that was planned in integers is known to compute in them, or is waived."""
        return self.stage == BUILT and all(each.passes for each in self.planned)
